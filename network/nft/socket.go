package nft

import "fairlead.dev/fairlead/network/nft/netfilter"

// socket asks the kernel about the tables, and writes them.
type socket struct{ *netfilter.Socket }

// dial opens a socket in the calling thread's network namespace.
func dial() (*socket, error) {
	s, err := netfilter.Dial()
	if err != nil {
		return nil, err
	}
	return &socket{s}, nil
}
