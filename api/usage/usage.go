// Package usage says how the control plane asks a node's agent what the node and its pods use, and what comes back. It only computes.
package usage

import "time"

// Path is where an agent answers GET with a Report in JSON.
const Path = "/fairlead/v1/usage"

// Use is what somebody used: processor time as the mean over the window that ended at Time, memory at Time.
type Use struct {
	Time       time.Time     `json:"time"`
	Window     time.Duration `json:"window"`     // nanoseconds
	NanoCores  uint64        `json:"nanoCores"`  // a thousand millionth of a processor
	WorkingSet uint64        `json:"workingSet"` // bytes: all memory but what of files the kernel would give up first
}

// Report is what a node and those pods on it use of which it is known. Containers that do not run are not in it.
type Report struct {
	Node Use   `json:"node"`
	Pods []Pod `json:"pods"`
}

// Pod is what the containers of a pod use.
type Pod struct {
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	UID        string      `json:"uid"`
	Containers []Container `json:"containers"`
}

// Container is what one container uses.
type Container struct {
	Name string `json:"name"`
	Use
}

// Point is what has been counted of somebody at one time.
type Point struct {
	Time       time.Time
	CPU        uint64 // nanoseconds of processor time since the beginning
	WorkingSet uint64 // bytes
}

// least is the shortest time over which a mean says something.
const least = 500 * time.Millisecond

// Between is what was used between two points. Who began only after the first, or began anew, is judged from begin on. It is false
// where the time is too short to say anything.
func Between(first, last Point, begin time.Time) (Use, bool) {
	since, counted := first.Time, last.CPU-first.CPU
	if first.Time.IsZero() || begin.After(first.Time) || last.CPU < first.CPU {
		since, counted = begin, last.CPU
	}
	window := last.Time.Sub(since)
	if since.IsZero() || window < least {
		return Use{}, false
	}
	cores := float64(counted) / float64(window)
	return Use{Time: last.Time, Window: window, NanoCores: uint64(cores * 1e9), WorkingSet: last.WorkingSet}, true
}
