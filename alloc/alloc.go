// Package alloc hands out the numbers a Service may need: addresses of a range and ports of a range. It knows nothing
// of the API: a range is a bitmap, and who holds what is the caller's knowledge.
package alloc

// PortRange is an inclusive range of ports, for example 30000-32767.
type PortRange struct {
	First, Last uint16
}
