// Package serviceaccount lets pods be somebody: it issues the tokens of service accounts, says whose a token is, and gives every pod its
// account. The rules, claims and words are upstream's; what they are judged by is read from the storages of this server.
package serviceaccount
