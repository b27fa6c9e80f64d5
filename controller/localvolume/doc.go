// Package localvolume provides the volumes of claims of class local-path: directories on the node of the claim's first pod. It is asleep
// until there is a claim or a volume. What is to become of a claim is decided by pure functions (plan.go); directories are made and
// removed by the agent of the node, which is asked.
//
// A directory is made before its volume is written, and removed before its volume is. It is named after the claim's UID, so that to try
// again makes none besides. One that no volume came of is removed again if nobody has written into it: one with something in it is
// never removed unless a volume that is to be deleted says so.
package localvolume
