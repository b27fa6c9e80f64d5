// Package announce tells a node's network that addresses of Services are at this node, and answers who asks for them: by ARP for
// IPv4 and by neighbour discovery for IPv6. Which addresses, the control plane says, by questions to the node's agent; package plan
// decides what is sent and answered.
//
// No link gets the addresses. The kernel's rules take connections to them before it is asked whether they are the node's own, and an
// answer that comes from this process ends with it: a node whose program is dead says nothing, while what others have learnt before
// goes on to work.
package announce
