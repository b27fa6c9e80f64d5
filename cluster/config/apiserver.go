package config

import (
	"errors"
	"fmt"
	"path/filepath"
)

// None is what a setting says that takes back what was saved.
const None = "none"

// APIServer are the settings of the API server alone: files in Kubernetes' own formats.
type APIServer struct {
	// EncryptionConfig is a file of Kubernetes' EncryptionConfiguration.
	EncryptionConfig string `json:"encryptionConfig,omitempty"`
	// AdmissionControlConfigFile is a file of Kubernetes' AdmissionConfiguration: how admission plugins are configured.
	AdmissionControlConfigFile string `json:"admissionControlConfigFile,omitempty"`
	// AuditPolicyFile is a file of Kubernetes' audit Policy: which requests are written down. Without one none is.
	AuditPolicyFile string `json:"auditPolicyFile,omitempty"`
	// AuditLogPath is where to; empty: in the data directory.
	AuditLogPath string `json:"auditLogPath,omitempty"`
	// AuditLogMaxAge, AuditLogMaxBackup and AuditLogMaxSize bound the log in days, files and megabytes.
	AuditLogMaxAge    *int `json:"auditLogMaxage,omitempty"`
	AuditLogMaxBackup *int `json:"auditLogMaxbackup,omitempty"`
	AuditLogMaxSize   *int `json:"auditLogMaxsize,omitempty"`
	// AuthenticationConfig is a file of Kubernetes' AuthenticationConfiguration: who issues users' tokens.
	AuthenticationConfig string `json:"authenticationConfig,omitempty"`
	OIDC
	// Profiling has the API server serve Go's profiles.
	Profiling *bool `json:"profiling,omitempty"`
}

// OIDC is a single issuer of users' tokens, as kube-apiserver's flags of these names have it.
type OIDC struct {
	OIDCIssuerURL      string            `json:"oidcIssuerURL,omitempty"`
	OIDCClientID       string            `json:"oidcClientID,omitempty"`
	OIDCUsernameClaim  string            `json:"oidcUsernameClaim,omitempty"`
	OIDCUsernamePrefix string            `json:"oidcUsernamePrefix,omitempty"`
	OIDCGroupsClaim    string            `json:"oidcGroupsClaim,omitempty"`
	OIDCGroupsPrefix   string            `json:"oidcGroupsPrefix,omitempty"`
	OIDCCAFile         string            `json:"oidcCAFile,omitempty"`
	OIDCRequiredClaim  map[string]string `json:"oidcRequiredClaim,omitempty"`
	OIDCSigningAlgs    []string          `json:"oidcSigningAlgs,omitempty"`
}

// paths are the settings that are the path of a file, by the name of their flag.
func (a *APIServer) paths() map[string]*string {
	return map[string]*string{"encryption-config": &a.EncryptionConfig, "audit-policy-file": &a.AuditPolicyFile, "audit-log-path": &a.AuditLogPath,
		"authentication-config": &a.AuthenticationConfig, "admission-control-config-file": &a.AdmissionControlConfigFile, "oidc-ca-file": &a.OIDCCAFile}
}

// orElse is a with every field that is not set taken from other.
func (a APIServer) orElse(other APIServer) APIServer {
	a.EncryptionConfig = or(a.EncryptionConfig, other.EncryptionConfig)
	a.AdmissionControlConfigFile = or(a.AdmissionControlConfigFile, other.AdmissionControlConfigFile)
	a.AuditPolicyFile = or(a.AuditPolicyFile, other.AuditPolicyFile)
	a.AuditLogPath = or(a.AuditLogPath, other.AuditLogPath)
	a.AuditLogMaxAge = or(a.AuditLogMaxAge, other.AuditLogMaxAge)
	a.AuditLogMaxBackup = or(a.AuditLogMaxBackup, other.AuditLogMaxBackup)
	a.AuditLogMaxSize = or(a.AuditLogMaxSize, other.AuditLogMaxSize)
	a.Profiling = or(a.Profiling, other.Profiling)
	a.AuthenticationConfig = or(a.AuthenticationConfig, other.AuthenticationConfig)
	if a.OIDCIssuerURL == "" { // what is said of an issuer is said of that one
		a.OIDC = a.OIDC.orElse(other.OIDC)
	}
	return a
}

func (o OIDC) orElse(other OIDC) OIDC {
	o.OIDCIssuerURL = or(o.OIDCIssuerURL, other.OIDCIssuerURL)
	o.OIDCClientID = or(o.OIDCClientID, other.OIDCClientID)
	o.OIDCUsernameClaim = or(o.OIDCUsernameClaim, other.OIDCUsernameClaim)
	o.OIDCUsernamePrefix = or(o.OIDCUsernamePrefix, other.OIDCUsernamePrefix)
	o.OIDCGroupsClaim = or(o.OIDCGroupsClaim, other.OIDCGroupsClaim)
	o.OIDCGroupsPrefix = or(o.OIDCGroupsPrefix, other.OIDCGroupsPrefix)
	o.OIDCCAFile = or(o.OIDCCAFile, other.OIDCCAFile)
	if len(o.OIDCRequiredClaim) == 0 {
		o.OIDCRequiredClaim = other.OIDCRequiredClaim
	}
	if len(o.OIDCSigningAlgs) == 0 {
		o.OIDCSigningAlgs = other.OIDCSigningAlgs
	}
	return o
}

// typed completes paths as somebody typed them, who meant them from where they were. The process that reads the files is
// somewhere else.
func (a *APIServer) typed() error {
	for flag, path := range a.paths() {
		if *path == "" || *path == None {
			continue
		}
		whole, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("%s %q: %w", flag, *path, err)
		}
		*path = whole
	}
	return nil
}

// check refuses paths that mean another file from wherever they are read.
func (a *APIServer) check() (errs []error) {
	for flag, path := range a.paths() {
		if *path != "" && *path != None && !filepath.IsAbs(*path) {
			errs = append(errs, fmt.Errorf("%s %q: must be an absolute path", flag, *path))
		}
	}
	if a.AuditPolicyFile == "" && (Path(a.AuditLogPath) != "" || or(a.AuditLogMaxAge, a.AuditLogMaxBackup, a.AuditLogMaxSize) != nil) {
		errs = append(errs, errors.New("audit-log-*: nothing is written down without an audit-policy-file, which says what"))
	}
	return errs
}

// AuditLog is where requests are written down; empty: nowhere.
func (c Config) AuditLog() string {
	if Path(c.AuditPolicyFile) == "" {
		return ""
	}
	return or(Path(c.AuditLogPath), filepath.Join(c.DataDir, "audit", "audit.log"))
}

// Path is a setting that is a path; empty: there is none, or it was taken back.
func Path(setting string) string {
	if setting == None {
		return ""
	}
	return setting
}
