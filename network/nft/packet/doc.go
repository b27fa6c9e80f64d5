// Package packet holds the tests of what Services do to packets: two nodes, each
// with a running nft.Proxy, their pods and a client outside, all of them network
// namespaces that exchange real packets.
//
// There is a test for each rule of docs/service-semantics.md, named by the rule's
// id. The random test holds what real connections do against lb.Expect; the
// churn test changes endpoints and kills the proxy under load.
package packet
