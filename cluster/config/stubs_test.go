package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestStubs(t *testing.T) {
	zones, errs := stubs([]string{"corp.example=192.0.2.53", "lab.corp.example.=192.0.2.1,[2001:db8::1]:5353,2001:db8::2", "168.192.in-addr.arpa=192.0.2.9:54"}, "cluster.local")
	want := "map[168.192.in-addr.arpa:[192.0.2.9:54] corp.example:[192.0.2.53:53] lab.corp.example:[192.0.2.1:53 [2001:db8::1]:5353 [2001:db8::2]:53]]"
	if got := fmt.Sprint(zones); got != want || len(errs) > 0 {
		t.Errorf("%s, %v", got, errs)
	}
	for text, why := range map[string]string{
		"corp.example":              `"" is not the address of a server`,
		"corp.example=":             `"" is not the address of a server`,
		"corp.example=ns.corp":      `"ns.corp" is not the address of a server`,
		"corp.example=192.0.2.1,":   `"" is not the address of a server`,
		"corp.example=192.0.2.1:0":  "is not the address of a server",
		"corp.example=0.0.0.0":      "is not the address of a server",
		"Corp_=192.0.2.1":           "is not a lower-case DNS name",
		"=192.0.2.1":                "is not a lower-case DNS name",
		"cluster.local=192.0.2.1":   "own zone cannot be given away",
		"x.cluster.local=192.0.2.1": "own zone cannot be given away",
	} {
		_, err := Resolve(Config{DataDir: t.TempDir(), DNSStubs: []string{text}})
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "dns-stub "+fmt.Sprintf("%q", text)) {
			t.Errorf("%s: %v, want %s", text, err, why)
		}
	}
}
