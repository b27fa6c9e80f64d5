package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/instance"
)

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ...",
		Short:              "kubectl, built in (a link named kubectl to this program works too)",
		DisableFlagParsing: true,
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
