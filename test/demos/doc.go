// Package demos shows each promise of Fairlead as a script of the commands a person types, with what
// they print: a laboratory of two nodes, or of three for some scripts, real containers, real packets. It is also their test.
//
//	make build images operator && go test ./test/demos    (as root)
//	go test ./test/demos -run TestDemos/M6                one of them
//
// The commands of the scripts are described in internal/script.
package demos
