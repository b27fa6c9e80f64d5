package main

import (
	"encoding/json"
	"reflect"
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

// Each flag of the API server reaches the settings, is saved, and is there again when nothing is said.
func TestAPIServerFlags(t *testing.T) {
	var flags config.Config
	set := pflag.NewFlagSet("up", pflag.ContinueOnError)
	apiServerFlags(set, &flags.APIServer)
	values := map[string]string{"audit-log-maxage": "7", "audit-log-maxbackup": "0", "audit-log-maxsize": "5", "oidc-required-claim": "a=b", "profiling": "true"}
	set.VisitAll(func(f *pflag.Flag) {
		before, _ := json.Marshal(flags)
		value := values[f.Name]
		if value == "" {
			value = "/" + f.Name
		}
		if err := set.Set(f.Name, value); err != nil {
			t.Errorf("--%s: %v", f.Name, err)
		}
		if after, _ := json.Marshal(flags); string(after) == string(before) {
			t.Errorf("--%s changes nothing that is saved", f.Name)
		}
	})
	if err := set.Set("audit-log-maxsize", "-1"); err == nil {
		t.Error("a negative number is taken")
	}
	dir := t.TempDir()
	s, err := config.Resume(config.Config{DataDir: dir}, flags)
	if err != nil || !reflect.DeepEqual(s.APIServer, flags.APIServer) {
		t.Errorf("said nothing: %+v, %v, want %+v", s.APIServer, err, flags.APIServer)
	}
}
