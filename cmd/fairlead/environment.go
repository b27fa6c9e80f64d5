package main

import (
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/internal/keeper"
)

// proxies are the variables by which programs are told to send what they ask for through somebody else.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}

// environmentProxy is the proxy that the environment names, for pulls of images alone; the zero value: it names none.
var environmentProxy config.Proxy

// proxyNamed reads it. A variable that is set and empty says that there is none, whatever was kept from an earlier start.
func proxyNamed(lookup func(string) (string, bool)) config.Proxy {
	said := false
	of := func(name string) string {
		for _, n := range []string{name, strings.ToLower(name)} {
			if value, ok := lookup(n); ok {
				said = true
				return value
			}
		}
		return ""
	}
	p := config.Proxy{HTTP: of("HTTP_PROXY"), HTTPS: of("HTTPS_PROXY")}
	switch {
	case p != config.Proxy{}:
		p.No = of("NO_PROXY")
	case said:
		p.No = "*"
	}
	return p
}

// ownEnvironment makes a command independent of the shell that it was typed in. A proxy cannot reach the cluster; what
// this program needs lies where programs lie on every system; what it writes has the modes that it gives.
func ownEnvironment(c *cobra.Command, _ []string) {
	if c.Annotations[typedBy] != "" {
		return
	}
	environmentProxy = proxyNamed(os.LookupEnv)
	for _, name := range proxies {
		os.Unsetenv(name)
	}
	os.Setenv("PATH", keeper.Path)
	syscall.Umask(0o022)
}

// typedBy marks commands that hand what they are given on to a program of the user's, which is to run as it would without.
const typedBy = "environment"

var usersEnvironment = map[string]string{typedBy: "the user's"}
