// Fairlead is the Service layer of Kubernetes as one small program. This package reads flags, and wires the
// parts together; what the parts do is in their packages. Start reading at wire.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// version is set by the linker.
var version = "v0.1.0-dev"

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	if name := filepath.Base(args[0]); name == "kubectl" {
		return kubectl(args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		var moved *movedError
		if errors.As(err, &moved) {
			fmt.Fprintf(os.Stderr, "fairlead: %v; it begins again with that\n", moved)
			err = beginAgain(afterBirth(args))
		}
		var code exitCode
		if errors.As(err, &code) {
			return int(code)
		}
		fmt.Fprintln(os.Stderr, "fairlead:", err)
		return 1
	}
	return 0
}

// exitCode ends the program with a code of its own; whatever was to be said has been said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "fairlead",
		Short:         "The Service layer of Kubernetes as one small program",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,

		PersistentPreRun: ownEnvironment,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; 'fairlead %s --help' lists the flags", err, c.Name())
	})
	root.AddCommand(
		upCommand(), downCommand(), statusCommand(), checkCommand(),
		kubectlCommand(), imageCommand(), nodeCommand(),
		serverCommand(), agentCommand(), runCommand(), proxyCommand(), dnsCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) { fmt.Println(version) }},
	)
	return root
}

// locate finds the instance that flags name, with the settings it was last started with.
func locate(flags config.Config) (instance.Instance, config.Settings, error) {
	s, err := config.Resolve(flags)
	if err != nil {
		return instance.Instance{}, s, err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if err := inst.Trusted(); err != nil {
		return inst, s, err
	}
	if !inst.Exists() {
		if _, err := inst.LoadSettings(); err == nil {
			return inst, s, inst.MayMake("version")
		}
		return inst, s, fmt.Errorf("nothing here: %s holds no Fairlead cluster; 'fairlead up' starts one, --name or --data-dir names another", s.DataDir)
	}
	started, err := inst.LoadSettings()
	if errors.Is(err, fs.ErrNotExist) {
		return inst, s, nil // never got as far as starting
	}
	if err != nil {
		return inst, s, err
	}
	if flags.Name != "" && flags.Name != started.Name {
		return inst, s, fmt.Errorf("name %q: the cluster in %s is named %q", flags.Name, s.DataDir, started.Name)
	}
	started.DataDir = s.DataDir
	s, err = config.Resolve(started)
	return inst, s, err
}

// whereFlags are the two flags that name a cluster.
func whereFlags(c *cobra.Command, flags *config.Config) {
	c.Flags().StringVar(&flags.Name, "name", "", "name of the cluster (default "+config.DefaultName+")")
	c.Flags().StringVar(&flags.DataDir, "data-dir", "", "where the cluster's state lives (default /var/lib/NAME)")
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root, it programs the kernel and runs containers; try 'sudo fairlead ...'")
	}
	return nil
}

// logger writes to standard error; the Kubernetes libraries log through it as well.
func logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, fmt.Errorf("log-level %q: must be debug, info, warn or error", level)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
	apiserver.RedirectLogs(log.With("part", "kubernetes"))
	return log, nil
}
