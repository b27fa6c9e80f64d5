// Package config is what a user may set: the fields of one cluster, their defaults, the file that mirrors
// the flags, and the checks that refuse a wrong value before anything is touched.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/registry"
)

// DefaultName is the cluster's name, its kubeconfig context and the base of its data directory.
const DefaultName = "fairlead"

// Config describes one cluster on this host. The zero value of a field means its default.
type Config struct {
	Name          string   `json:"name,omitempty"`
	DataDir       string   `json:"dataDir,omitempty"`
	Nodes         int      `json:"nodes,omitempty"`
	PodCIDR       string   `json:"podCIDR,omitempty"`     // one or two ranges, the primary family first
	ServiceCIDR   string   `json:"serviceCIDR,omitempty"` // of the same families in the same order
	ClusterDNS    string   `json:"clusterDNS,omitempty"`  // an address of each Service range
	DualStack     bool     `json:"dualStack,omitempty"`
	ClusterDomain string   `json:"domain,omitempty"` // the DNS zone of the cluster
	NodePorts     string   `json:"nodePorts,omitempty"`
	Port          int      `json:"port,omitempty"`
	AgentPort     int      `json:"agentPort,omitempty"`
	NodeName      string   `json:"nodeName,omitempty"`
	NodeIP        string   `json:"nodeIP,omitempty"`
	EtcdServers   []string `json:"etcdServers,omitempty"`
	// AllowExternalIPs lets Services claim addresses by spec.externalIPs, refused otherwise (CVE-2020-8554).
	AllowExternalIPs *bool `json:"allowExternalIPs,omitempty"`
	// LBPool are the addresses for Services of type LoadBalancer: ranges, PoolAuto or PoolNone.
	LBPool string `json:"lbPool,omitempty"`
	// DNSStubs are the servers to ask about names in some zones, each ZONE=ADDR[,ADDR...].
	DNSStubs []string `json:"dnsStub,omitempty"`
	// DNSAutopath has the name server try a pod's search list for it.
	DNSAutopath *bool `json:"dnsAutopath,omitempty"`
	// IngressClasses are the IngressClasses that are to exist and be this program's, the default one first.
	IngressClasses []string `json:"ingressClasses,omitempty"`
	// Ingress has every node serve Ingresses on two of its own ports, which is so unless somebody says no.
	Ingress *bool `json:"ingress,omitempty"`
	// IngressPorts are these ports, HTTP,HTTPS.
	IngressPorts string `json:"ingressPorts,omitempty"`
	// AccessLog has every node write down the requests that it serves.
	AccessLog *bool  `json:"accessLog,omitempty"`
	LogLevel  string `json:"logLevel,omitempty"`
	APIServer
	// Registries says how registries of images are reached. It is read from the file alone, and kept nowhere else.
	Registries registry.Registries `json:"registries,omitzero"`
	// Own is what nobody sets in the file.
	Own `json:"own,omitzero"`
}

// Proxy is a forward proxy.
type Proxy = registry.Proxy

// Own are settings that are not the file's to say, but kept for the next start.
type Own struct {
	File  string `json:"file,omitempty"` // the configuration file, where it is not in the data directory
	Proxy Proxy  `json:"proxy,omitzero"` // of the environment in which the cluster was started
}

// Settings is a checked Config in the types the program works with. It is handed down to everything that a cluster starts.
type Settings struct {
	Config
	Networking          `json:"-"`   // of Settings only the Config is ever written
	FirstPort, LastPort int          // node ports, inclusive
	NodeIPs             []netip.Addr // those not given are found from the default routes
	Pool                Pool         // what Services of type LoadBalancer are given
}

// Networking is what every node has to know of the network of its cluster. A machine is told it when it joins, in JSON.
type Networking struct {
	Pods     []netip.Prefix `json:"podCIDRs"`     // one of each family of the cluster, the primary family first
	Services []netip.Prefix `json:"serviceCIDRs"` // in the same order
	DNS      []netip.Addr   `json:"clusterDNS"`   // an address of each Service range
	Domain   string         `json:"domain"`       // the cluster's zone
	// Stubs are the name servers of some zones outside the cluster.
	Stubs map[string][]netip.AddrPort `json:"dnsStubs,omitempty"`
	// Autopath has the nodes' name servers try the search lists of pods for them.
	Autopath bool `json:"dnsAutopath,omitempty"`
	// Ingress are the ports of the nodes on which Ingresses are served; nil: on none.
	Ingress *IngressPorts `json:"ingressPorts,omitempty"`
	// AccessLog has the nodes write down the requests that they serve.
	AccessLog bool `json:"accessLog,omitempty"`
}

// IngressPorts are two ports of every node.
type IngressPorts struct {
	HTTP  uint16 `json:"http"`
	HTTPS uint16 `json:"https"`
}

// Resolve completes flags with DIR/config.yaml and the defaults, and checks the result. Each error names
// the setting, what is wrong with it and what would be right.
func Resolve(flags Config) (Settings, error) { return Resume(flags, Config{}) }

// Resume is Resolve for a cluster that was started before: what neither flags nor file say stays as saved.
func Resume(flags, saved Config) (Settings, error) {
	c, file, err := place(flags)
	if err != nil {
		return Settings{}, err
	}
	if c.Name = or(c.Name, file.Name); saved.Name != "" && c.Name != "" && c.Name != saved.Name {
		return Settings{}, fmt.Errorf("name %q: the cluster in %s is named %q and stays so; leave the name out, or take that one down first, or give the new one another --data-dir", c.Name, c.DataDir, saved.Name)
	}
	c.Name = or(c.Name, or(saved.Name, DefaultName))
	if err := checkName(c.Name); err != nil {
		return Settings{}, err
	}
	s, err := c.Else(file).Else(saved).Else(defaults).check()
	if err != nil {
		return s, err
	}
	return s, s.keepsFirst(saved)
}

// place completes the flags with the data directory, and reads the configuration file: the one in the directory that the
// flags name. That file may say that the data lie in another directory.
func place(flags Config) (c, file Config, err error) {
	if flags.Name != "" {
		if err := checkName(flags.Name); err != nil {
			return c, file, err
		}
	}
	c = flags
	if err := c.typed(); err != nil {
		return c, file, err
	}
	dir, err := filepath.Abs(or(flags.DataDir, "/var/lib/"+or(flags.Name, DefaultName)))
	if err != nil {
		return c, file, fmt.Errorf("data-dir %q: %w", flags.DataDir, err)
	}
	path := or(flags.File, filepath.Join(dir, "config.yaml"))
	if file, err = load(path); err != nil {
		return c, file, err
	}
	c.File, c.Registries = path, file.Registries
	if c.DataDir, err = fileDir(dir, file); err == nil && c.DataDir != dir && flags.DataDir != "" {
		err = fmt.Errorf("dataDir %q: --data-dir says %s; make them one, or leave one out", file.DataDir, dir)
	}
	if err != nil {
		err = fmt.Errorf("config %s: %w", path, err)
	}
	return c, file, err
}

// fileDir is the data directory where the file in dir counts.
func fileDir(dir string, file Config) (string, error) {
	named := filepath.Clean(file.DataDir)
	switch {
	case file.DataDir == "" || named == dir:
		return dir, nil
	case !filepath.IsAbs(named):
		return dir, fmt.Errorf("dataDir %q: must be an absolute path", file.DataDir)
	}
	if _, err := os.Lstat(filepath.Join(named, "config.yaml")); err == nil {
		return dir, fmt.Errorf("dataDir %q has a config.yaml of its own; only one of the two can count: remove one", file.DataDir)
	}
	return named, nil
}

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: must be 1 to 10 lower-case letters, digits or '-', beginning with a letter", name)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$`)

// defaults are the settings of a user who sets nothing; the ranges of addresses are completed by their families.
var defaults = Config{
	ClusterDomain: "cluster.local", NodePorts: "30000-32767", IngressPorts: "80,443", Port: 6443, AgentPort: 10250, LogLevel: "info",
	IngressClasses: []string{api.IngressClass},
}

// Else is c with every field that is not set taken from other.
func (c Config) Else(other Config) Config {
	c.Nodes = or(c.Nodes, other.Nodes)
	c.PodCIDR = or(c.PodCIDR, other.PodCIDR)
	c.ServiceCIDR = or(c.ServiceCIDR, other.ServiceCIDR)
	c.ClusterDNS = or(c.ClusterDNS, other.ClusterDNS)
	c.ClusterDomain = or(c.ClusterDomain, other.ClusterDomain)
	c.NodePorts = or(c.NodePorts, other.NodePorts)
	c.Port = or(c.Port, other.Port)
	c.AgentPort = or(c.AgentPort, other.AgentPort)
	c.NodeName = or(c.NodeName, other.NodeName)
	c.NodeIP = or(c.NodeIP, other.NodeIP)
	c.LogLevel = or(c.LogLevel, other.LogLevel)
	c.Proxy = or(c.Proxy, other.Proxy)
	c.DualStack = c.DualStack || other.DualStack
	c.DNSAutopath = or(c.DNSAutopath, other.DNSAutopath)
	c.LBPool = keptPool(c.LBPool, other.LBPool)
	c.Ingress = or(c.Ingress, other.Ingress)
	c.IngressPorts = or(c.IngressPorts, other.IngressPorts)
	c.AccessLog = or(c.AccessLog, other.AccessLog)
	c.AllowExternalIPs = or(c.AllowExternalIPs, other.AllowExternalIPs)
	c.APIServer = c.APIServer.orElse(other.APIServer)
	if len(c.EtcdServers) == 0 {
		c.EtcdServers = other.EtcdServers
	}
	if len(c.DNSStubs) == 0 {
		c.DNSStubs = other.DNSStubs
	}
	if len(c.IngressClasses) == 0 {
		c.IngressClasses = other.IngressClasses
	}
	return c
}

func (c Config) check() (Settings, error) {
	s := Settings{Config: c}
	var errs []error
	fail := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("%s %q: %s", flag, value, want))
	}
	errs = append(errs, s.addresses()...)
	if errors.Join(errs...) == nil {
		errs = append(errs, s.pool())
	}
	errs = append(errs, s.APIServer.check()...)
	var err error
	if s.FirstPort, s.LastPort, err = portRange(c.NodePorts); err != nil {
		fail("node-ports", c.NodePorts, "must be FIRST-LAST within 1-65535, such as 30000-32767")
	}
	for flag, port := range map[string]int{"port": c.Port, "agent-port": c.AgentPort} {
		if port < 1 || port > 65535 {
			fail(flag, strconv.Itoa(port), "must be between 1 and 65535")
		}
	}
	if c.Ingress == nil || *c.Ingress {
		var problem string
		if s.Networking.Ingress, problem = s.ingressPorts(); problem != "" {
			fail("ingress-ports", c.IngressPorts, problem)
		}
	}
	if problem := NodeNameProblem(c.NodeName); c.NodeName != "" && problem != "" {
		fail("node-name", c.NodeName, problem)
	} else if c.NodeName != "" && c.Nodes > 0 {
		fail("node-name", c.NodeName, "the nodes of a lab are node1, node2 and so on; leave it out, or --nodes")
	}
	if c.Nodes < 0 || c.Nodes > 50 {
		fail("nodes", strconv.Itoa(c.Nodes), "must be between 0 and 50")
	}
	if s.Domain = c.ClusterDomain; !domainForm.MatchString(s.Domain) || len(s.Domain) > 200 {
		fail("domain", s.Domain, "must be a lower-case DNS name such as cluster.local")
	}
	for _, class := range c.IngressClasses {
		if !domainForm.MatchString(class) || len(class) > 253 {
			fail("ingress-classes", class, "must be names of IngressClasses, such as fairlead,nginx")
		}
	}
	var wrong []error
	s.Stubs, wrong = stubs(c.DNSStubs, s.Domain)
	s.Autopath = Yes(c.DNSAutopath)
	s.Networking.AccessLog = Yes(c.AccessLog)
	return s, errors.Join(append(errs, wrong...)...)
}

// NodeNameProblem says why a name cannot be that of a node; empty: it can. A node's name is a DNS name, and also the value
// of one of its labels.
func NodeNameProblem(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > 63:
		return fmt.Sprintf("it has %d characters, 63 are possible", len(name))
	case !domainForm.MatchString(name):
		return "it must be a DNS name of lower-case letters, digits, '-' and '.', such as node1.example.org"
	}
	return ""
}

var domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

func portRange(s string) (first, last int, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, fs.ErrInvalid
	}
	first, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	if first < 1 || last > 65535 || first > last {
		return 0, 0, fs.ErrInvalid
	}
	return first, last, nil
}

// Yes reports whether a choice was made, and made for it. A choice that nobody made is nil, so that a flag which says no
// can undo a yes that was saved.
func Yes(choice *bool) bool { return choice != nil && *choice }

// or is the first value that is not zero.
func or[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}
