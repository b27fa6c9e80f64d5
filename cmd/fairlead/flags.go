package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

// clusterFlags binds every field of a configuration to a flag of the same name. A flag that is not given keeps what the file says.
func clusterFlags(f *pflag.FlagSet, c *config.Config) {
	f.StringVar(&c.Name, "name", "", "name of the cluster and of its kubeconfig context (default "+config.DefaultName+")")
	f.StringVar(&c.DataDir, "data-dir", "", "where the cluster's state lives (default /var/lib/NAME)")
	f.IntVar(&c.Nodes, "nodes", 0, "0: this host is the node; N: N nodes in network namespaces of their own")
	f.StringVar(&c.PodCIDR, "pod-cidr", "", "addresses of pods, a /24 or IPv6 /64 for each node; for two families FIRST,SECOND (default "+config.PodCIDR4+")")
	f.StringVar(&c.ServiceCIDR, "service-cidr", "", "addresses of Services, of the same families in the same order (default "+config.ServiceCIDR4+")")
	f.StringVar(&c.ClusterDNS, "cluster-dns", "", "address of the cluster DNS inside each Service range (default the tenth, 10.96.0.10)")
	f.BoolVar(&c.DualStack, "dual-stack", false, "give pods and Services addresses of both families; where only one is said, the other has the range "+config.PodCIDR6+" or "+config.ServiceCIDR6)
	f.StringArrayVar(&c.DNSStubs, "dns-stub", nil, "ZONE=ADDR[,ADDR...]: servers to ask about names in a zone (repeat for more zones)")
	choice(f, &c.DNSAutopath, "dns-autopath", "try the search list for pods: one query for a name outside instead of several")
	f.StringVar(&c.ClusterDomain, "domain", "", "DNS zone of the cluster (default cluster.local)")
	f.StringVar(&c.NodePorts, "node-ports", "", "range of node ports (default 30000-32767)")
	choice(f, &c.Ingress, "ingress", "serve Ingresses on two ports of every node; on unless --ingress=false")
	f.StringVar(&c.IngressPorts, "ingress-ports", "", "these ports, HTTP,HTTPS (default 80,443)")
	choice(f, &c.AccessLog, "access-log", "write down each request to Ingresses, Gateways and Services with L7, as JSON, in access.log of each node's directory")
	f.IntVar(&c.Port, "port", 0, "port of the API server (default 6443)")
	f.IntVar(&c.AgentPort, "agent-port", 0, "port of the node agent (default 10250)")
	f.StringVar(&c.NodeName, "node-name", "", "name of this host as a node (default: the host name)")
	f.StringVar(&c.NodeIP, "node-ip", "", "address of this host as a node, one of each family (default: those of the default routes)")
	f.StringSliceVar(&c.EtcdServers, "etcd-servers", nil, "etcd cluster to use instead of the embedded store")
	f.StringVar(&c.LBPool, "lb-pool", "", "addresses for Services of type LoadBalancer: ranges FIRST-LAST or networks, of either family; auto: those that this host and the lab reach; none (default none)")
	apiServerFlags(f, &c.APIServer)
	choice(f, &c.AllowExternalIPs, "allow-external-ips", "accept Services with spec.externalIPs (CVE-2020-8554)")
	f.StringSliceVar(&c.IngressClasses, "ingress-classes", nil, "IngressClasses to make and serve, the first one as the default; nginx takes over Ingresses written for ingress-nginx (default fairlead)")
	f.StringVar(&c.LogLevel, "log-level", "", "debug, info, warn or error (default info)")
}

// apiServerFlags are those of the API server alone, named as upstream names them where it has them.
func apiServerFlags(f *pflag.FlagSet, a *config.APIServer) {
	f.StringVar(&a.EncryptionConfig, "encryption-config", "", "EncryptionConfiguration: how objects are encrypted in etcd; none takes it back (default: Secrets, with a key in the data directory)")
	f.StringVar(&a.AdmissionControlConfigFile, "admission-control-config-file", "", "AdmissionConfiguration: how admission plugins are configured, such as PodSecurity's exemptions; none takes it back")
	f.StringVar(&a.AuditPolicyFile, "audit-policy-file", "", "audit Policy: which requests to write down; none takes it back (default: none is)")
	f.StringVar(&a.AuditLogPath, "audit-log-path", "", "where to write them (default audit/audit.log in the data directory)")
	number(f, &a.AuditLogMaxAge, "audit-log-maxage", "days for which old files of the audit log are kept; 0: for ever (default 366)")
	number(f, &a.AuditLogMaxBackup, "audit-log-maxbackup", "how many old files of the audit log are kept; 0: all (default 100)")
	number(f, &a.AuditLogMaxSize, "audit-log-maxsize", "megabytes after which a new file of the audit log is begun (default 100)")
	f.StringVar(&a.AuthenticationConfig, "authentication-config", "", "AuthenticationConfiguration: who issues users' tokens (OpenID Connect); none takes it back")
	f.StringVar(&a.OIDCIssuerURL, "oidc-issuer-url", "", "instead: the URL of a single issuer; none takes it back")
	f.StringVar(&a.OIDCClientID, "oidc-client-id", "", "whom its tokens are for, their aud")
	f.StringVar(&a.OIDCUsernameClaim, "oidc-username-claim", "", "what of a token is the user's name (default sub)")
	f.StringVar(&a.OIDCUsernamePrefix, "oidc-username-prefix", "", "what is put before it; -: nothing (default the issuer and #, but nothing before email)")
	f.StringVar(&a.OIDCGroupsClaim, "oidc-groups-claim", "", "what of a token are the user's groups")
	f.StringVar(&a.OIDCGroupsPrefix, "oidc-groups-prefix", "", "what is put before them")
	f.StringVar(&a.OIDCCAFile, "oidc-ca-file", "", "who signs the issuer's certificate (default: whom the system trusts)")
	f.StringToStringVar(&a.OIDCRequiredClaim, "oidc-required-claim", nil, "NAME=VALUE that a token must say (repeat for more)")
	choice(f, &a.Profiling, "profiling", "serve Go's profiles on the API server, below /debug/pprof, to those who may get that path")
	f.StringSliceVar(&a.OIDCSigningAlgs, "oidc-signing-algs", nil, "by which algorithms a token may be signed (default RS256)")
}

// whereFlags are the two flags that name a cluster.
func whereFlags(c *cobra.Command, flags *config.Config) {
	c.Flags().StringVar(&flags.Name, "name", "", "name of the cluster (default "+config.DefaultName+")")
	c.Flags().StringVar(&flags.DataDir, "data-dir", "", "where the cluster's state lives (default /var/lib/NAME)")
}

// apiFlags are those of a part that runs by itself against somebody else's API server.
func apiFlags(c *cobra.Command, api *cluster.API, logLevel *string) {
	c.Flags().StringVar(&api.Kubeconfig, "kubeconfig", "", "how to reach the API server (default: as a pod does, by its ServiceAccount)")
	c.Flags().StringVar(&api.Server, "server", "", "URL of the API server, instead of the one that the kubeconfig names")
	c.Flags().StringVar(logLevel, "log-level", "info", "debug, info, warn or error")
}

// pprofFlag is where a process serves Go's profiles.
func pprofFlag(f *pflag.FlagSet, addr *string) {
	f.StringVar(addr, "pprof", "", "serve Go's profiles, below /debug/pprof/, at a port of loopback such as 127.0.0.1:6060 (default: nowhere)")
}

// numberFlag is the flag of a number where 0 is not the same as not to say.
type numberFlag struct{ to **int }

func number(f *pflag.FlagSet, to **int, name, usage string) { f.Var(numberFlag{to}, name, usage) }

func (f numberFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err == nil && n < 0 {
		err = errors.New("must not be negative")
	}
	if err == nil {
		*f.to = &n
	}
	return err
}

func (f numberFlag) String() string {
	if f.to == nil || *f.to == nil {
		return ""
	}
	return strconv.Itoa(**f.to)
}

// Type is part of pflag.Value.
func (numberFlag) Type() string { return "int" }

// choiceFlag is the flag of a choice: --it, --it=true or --it=false.
type choiceFlag struct{ to **bool }

func choice(f *pflag.FlagSet, to **bool, name, usage string) {
	f.Var(choiceFlag{to}, name, usage)
	f.Lookup(name).NoOptDefVal = "true"
}

func (f choiceFlag) Set(text string) error {
	yes, err := strconv.ParseBool(text)
	if err == nil {
		*f.to = &yes
	}
	return err
}

func (f choiceFlag) String() string {
	if f.to == nil {
		return "false"
	}
	return strconv.FormatBool(config.Yes(*f.to))
}

// Type makes the help print the flag as one that needs no value.
func (choiceFlag) Type() string { return "bool" }
