package main

import (
	"testing"

	"fairlead.dev/fairlead/cluster/config"
)

// The environment's proxy is for pulls; a variable that is set and empty says that there is none.
func TestProxyOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want config.Proxy
	}{
		{nil, config.Proxy{}},
		{map[string]string{"NO_PROXY": "a"}, config.Proxy{}},
		{map[string]string{"https_proxy": "http://p:1", "no_proxy": "a"}, config.Proxy{HTTPS: "http://p:1", No: "a"}},
		{map[string]string{"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, config.Proxy{HTTPS: "http://p:1"}},
		{map[string]string{"HTTPS_PROXY": ""}, config.Proxy{No: "*"}},
	} {
		if got := proxyNamed(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.env, got, c.want)
		}
	}
}
