// Package chaos writes to a lab of two nodes from many clients while what it consists of is killed, stopped, cut off and starved,
// and checks after each fault what the project promises: no acknowledged write is lost, none that was refused is there, every
// watch tells of every change in order, revisions only rise, and no address or port is given out twice or lost.
//
// The tests need root, the built program and its images (make build images). How many rounds there are, and with which
// random numbers, is said by flags: go test ./chaos -args -rounds 200 -seed 7.
package chaos
