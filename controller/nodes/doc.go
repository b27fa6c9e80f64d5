// Package nodes looks after nodes: each is allocated its CIDRs of pod addresses, one whose
// agent stops renewing its lease is declared Unknown and tainted, its pods stop
// being endpoints and are evicted in the end, and pods of a node that is gone go
// too.
//
// What to do is decided by package lifecycle; the loops around it are driven by watch
// events and by the times the plans return.
package nodes
