package config

import (
	"strconv"

	"github.com/spf13/pflag"
)

// Yes reports whether a choice was made, and made for it. A choice that nobody made is nil, so that a flag which says no
// can undo a yes that was saved.
func Yes(choice *bool) bool { return choice != nil && *choice }

// choiceFlag is the flag of a choice: --it, --it=true or --it=false.
type choiceFlag struct{ to **bool }

func choice(f *pflag.FlagSet, to **bool, name, usage string) {
	f.Var(choiceFlag{to}, name, usage)
	f.Lookup(name).NoOptDefVal = "true"
}

func (f choiceFlag) Set(text string) error {
	yes, err := strconv.ParseBool(text)
	if err == nil {
		*f.to = &yes
	}
	return err
}

func (f choiceFlag) String() string {
	if f.to == nil {
		return "false"
	}
	return strconv.FormatBool(Yes(*f.to))
}

// Type makes the help print the flag as one that needs no value.
func (choiceFlag) Type() string { return "bool" }
