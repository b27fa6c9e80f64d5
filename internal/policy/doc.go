// Package policy holds the tests about the repository itself: which package may import which, how
// packages and exported names are documented, how long files and functions may be, and that what the
// README tells people to type exists. A rule that only stands in a document is broken within a month.
//
// A file or function that is longer than the budget for a good reason says so in a comment:
//
//	//budget:ignore one table, better read in one place
package policy
