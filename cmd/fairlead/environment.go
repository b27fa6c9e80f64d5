package main

import (
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/internal/keeper"
)

// proxies are the variables by which programs are told to send what they ask for through somebody else.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}

// ownEnvironment makes a command independent of the shell that it was typed in. A proxy cannot reach the cluster; what
// this program needs lies where programs lie on every system; what it writes has the modes that it gives.
func ownEnvironment(c *cobra.Command, _ []string) {
	if c.Annotations[typedBy] != "" {
		return
	}
	for _, name := range proxies {
		os.Unsetenv(name)
	}
	os.Setenv("PATH", keeper.Path)
	syscall.Umask(0o022)
}

// typedBy marks commands that hand what they are given on to a program of the user's, which is to run as it would without.
const typedBy = "environment"

var usersEnvironment = map[string]string{typedBy: "the user's"}
