// Package plan says which routers a node has sessions with, and which addresses of Services it tells each of them. It only computes.
//
// A node announces an address where connections to it would be forwarded from this node, by the same derivation that the kernel's
// rules follow: with externalTrafficPolicy Cluster every node as long as the Service has an endpoint anywhere, with Local the nodes
// that have one themselves. Without any endpoint nobody announces it, so that whoever serves the same address elsewhere gets the
// traffic (as MetalLB decides). A node with the label node.kubernetes.io/exclude-from-external-load-balancers announces nothing.
package plan
