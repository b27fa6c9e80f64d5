// Package plan is which routes a node has to have, and what is to be done about those that it has: pure.
package plan
