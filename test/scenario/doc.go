// Package scenario runs the whole program on this host as a person does, and looks at what it promises beyond any
// single command: that it leaves nothing behind, loses nothing, and refuses wrong input with one clear sentence.
//
// The tests need root, the built program and its images (make build images), and this host to themselves.
package scenario
