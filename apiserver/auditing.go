package apiserver

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"

	"fairlead.dev/fairlead/apiserver/configfile"
)

// Audit says which requests are written down, and where.
type Audit struct {
	Policy string // a file of Kubernetes' audit Policy; empty: nothing is written down
	Log    string // a file

	// MaxAge is for how many days old files are kept, MaxBackups how many of them, MaxSize how many megabytes one has; nil: as
	// upstream does it. With 0 days or files none is removed for that.
	MaxAge, MaxBackups, MaxSize *int
}

// check refuses a policy that says nothing, or something that nobody understands. Upstream takes one with unknown keys and leaves
// these out, so that less may be written down than somebody meant.
func (a Audit) check() error {
	if a.Policy == "" {
		if a.Log != "" || a.MaxAge != nil || a.MaxBackups != nil || a.MaxSize != nil {
			return errors.New("audit log: there is no audit-policy-file, which says what to write into it")
		}
		return nil
	}
	if a.Log == "" {
		return errors.New("audit log: there is no file to write it to")
	}
	text, err := os.ReadFile(a.Policy)
	if err == nil {
		strict := serializer.NewCodecFactory(audit.Scheme, serializer.EnableStrict).UniversalDecoder()
		if _, _, err = strict.Decode(text, nil, &auditapi.Policy{}); err == nil {
			_, err = policy.LoadPolicyFromBytes(text)
		}
	}
	if err == nil {
		err = errors.Join(a.options().Validate()...)
	}
	if err != nil {
		return fmt.Errorf("audit policy: %w", configfile.Wrong(a.Policy, err))
	}
	return nil
}

func (a Audit) options() *options.AuditOptions {
	o := options.NewAuditOptions()
	o.PolicyFile, o.LogOptions.Path = a.Policy, a.Log
	for to, set := range map[*int]*int{&o.LogOptions.MaxAge: a.MaxAge, &o.LogOptions.MaxBackups: a.MaxBackups, &o.LogOptions.MaxSize: a.MaxSize} {
		if set != nil {
			*to = *set
		}
	}
	return o
}

// apply has c write down what the policy says.
func (a Audit) apply(c *genericapiserver.Config) error {
	if a.Policy == "" {
		return nil
	}
	if err := a.options().ApplyTo(c); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}
