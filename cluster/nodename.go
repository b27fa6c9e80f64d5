package cluster

import (
	"fmt"
	"os"
	"strings"

	"fairlead.dev/fairlead/cluster/config"
)

// nodeName is this host's name as a node: the one that was given, or the host name.
func nodeName(given string) (string, error) {
	if given != "" {
		return given, nil // checked with the other settings
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("host name: %w; give the node a name with --node-name", err)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if problem := config.NodeNameProblem(name); problem != "" {
		return "", fmt.Errorf("the host name %q cannot be the name of a node: %s; give it one with --node-name", host, problem)
	}
	return name, nil
}

// joiningName is nodeName for a machine that is one of several: they cannot all have the name that those without one have.
func joiningName(given string) (string, error) {
	name, err := nodeName(given)
	if first, _, _ := strings.Cut(name, "."); err == nil && given == "" && first == "localhost" {
		return "", fmt.Errorf("the host name %q is that of every machine that was given none; name this node with --node-name", name)
	}
	return name, err
}
