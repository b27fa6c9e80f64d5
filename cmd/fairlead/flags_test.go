package main

import (
	"testing"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/cluster/config"
)

// A flag that says no undoes a yes that was saved, and one that says nothing does not.
func TestChoices(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{{nil, true}, {[]string{"--allow-external-ips"}, true}, {[]string{"--allow-external-ips=false"}, false}} {
		var flags config.Config
		set := pflag.NewFlagSet("up", pflag.ContinueOnError)
		clusterFlags(set, &flags)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		flags.DataDir = t.TempDir()
		yes := true
		s, err := config.Resume(flags, config.Config{AllowExternalIPs: &yes})
		if err != nil || config.Yes(s.AllowExternalIPs) != c.want {
			t.Errorf("%v: %v, %v, want %v", c.args, config.Yes(s.AllowExternalIPs), err, c.want)
		}
		if err := set.Parse([]string{"--allow-external-ips=maybe"}); err == nil {
			t.Error("maybe is taken for an answer")
		}
	}
}
