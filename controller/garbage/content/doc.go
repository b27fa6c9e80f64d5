// Package content is what is left in a namespace that ends, and the conditions that say so: pure.
package content
