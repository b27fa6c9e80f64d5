package rule

import "encoding/hex"

// nf_tables data types as the nft command numbers them; a concatenation is its
// parts in groups of six bits. That of an address is its family's.
const (
	TypeInteger = 4
	TypeProto   = 12
	TypePort    = 13
	TypeMark    = 19
)

// The user data says in nft's own encoding how to print an element. The slot
// keys need it: a number without a type has no other way to be printed.
// ConcatKey, HostKey and HostBoth give just the byte order of key and value.
const (
	ConcatKey = "000400000000010401000000"
	HostKey   = "000401000000010400000000"
	HostBoth  = "000401000000010401000000"
	PlainSet  = "000402000000"
	HostSet   = "000401000000"
	ConcatSet = "000400000000"
)

// Unhex is bytes that are written as hexadecimal constants.
func Unhex(s string) []byte {
	p, err := hex.DecodeString(s)
	if err != nil {
		panic("BUG: user data constant: " + err.Error())
	}
	return p
}
