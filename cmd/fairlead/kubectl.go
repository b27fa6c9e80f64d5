package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/lab"
)

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ...",
		Short:              "kubectl, built in (a link named kubectl to this program works too)",
		DisableFlagParsing: true,
		Annotations:        usersEnvironment,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := kubectl(args); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

// kubectl runs the built-in kubectl with its own arguments. Where neither KUBECONFIG nor a flag names a
// kubeconfig and this user may read the default cluster's, that one is used.
func kubectl(args []string) int {
	inst := instance.Instance{Dir: "/var/lib/" + config.DefaultName}
	if os.Getenv("KUBECONFIG") == "" {
		if f, err := os.Open(inst.Path("admin.kubeconfig")); err == nil {
			f.Close()
			os.Setenv("KUBECONFIG", f.Name())
			if os.Getenv("KUBECACHEDIR") == "" {
				os.Setenv("KUBECACHEDIR", inst.Path("kubectl-cache"))
			}
		}
	}
	bypassProxies()
	if err := errors.Join(nameKubectl(), refuseRepeatedKeys(args)); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	os.Args = append([]string{"kubectl"}, args...) // kubectl reads them itself when it looks for plugins
	command := kubectlcmd.NewDefaultKubectlCommandWithArgs(kubectlcmd.KubectlOptions{
		PluginHandler: kubectlcmd.NewDefaultPluginHandler([]string{"kubectl"}),
		Arguments:     os.Args,
		ConfigFlags:   genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50),
		IOStreams:     genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
	})
	command.SetArgs(args)
	if err := cli.RunNoErrOutput(command); err != nil {
		kubectlutil.CheckErr(err) // prints it the way kubectl does and exits with kubectl's code
	}
	return 0
}

// bypassProxies keeps what goes to a lab on this host; no proxy could reach it. Loopback addresses are never sent to one.
func bypassProxies() {
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		os.Setenv(name, strings.Trim(os.Getenv(name)+","+lab.Ranges, ","))
	}
}

// refuseRepeatedKeys checks the manifests that arguments name. kubectl itself lets the last of two equal keys win and
// does not send the other, so no server can notice.
func refuseRepeatedKeys(args []string) error {
	for i, arg := range args {
		path, ok := strings.CutPrefix(arg, "--filename=")
		if arg == "-f" || arg == "--filename" {
			ok = i+1 < len(args)
			path = args[min(i+1, len(args)-1)]
		} else if short, isShort := strings.CutPrefix(arg, "-f"); isShort && !ok {
			path, ok = strings.TrimPrefix(short, "="), true
		}
		if info, err := os.Stat(path); !ok || err != nil || !info.Mode().IsRegular() {
			continue // directories, URLs and standard input are kubectl's own affair, as is a file that is missing
		}
		if err := repeatedKeys(path); err != nil {
			return err
		}
	}
	return nil
}

func repeatedKeys(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(file)); ; {
		doc, err := docs.Read()
		if err != nil {
			return nil // the end, or nothing that kubectl would read either
		}
		if _, err := yaml.YAMLToJSONStrict(doc); err != nil && strings.Contains(err.Error(), "already set") {
			return fmt.Errorf("%s: %s; a field may be given once only", path, strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  "))
		}
	}
}
