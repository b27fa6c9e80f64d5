// Package rule has rules of nf_tables as data: expressions, chains and tables' messages for the kernel, and the text that the nft command
// prints of them. It knows nothing of what they are for, and reaches no kernel.
//
// Whatever is made here has to be printable by the nft command of Debian 12 (1.0.6), and readable again: a rule that makes it abort takes
// the listing away from every administrator and every program on the host. Keys therefore begin in register 1, values go through marks,
// and maps say in nft's own encoding what their parts are.
package rule
