// Package issuers has users of OpenID Connect known by the tokens of those who issue them, as a file of Kubernetes'
// AuthenticationConfiguration says, or flags.
package issuers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	kubeauthenticator "k8s.io/kubernetes/pkg/kubeapiserver/authenticator"

	"fairlead.dev/fairlead/apiserver/configfile"
)

// Config says who issues tokens: a file, or flags for a single one.
type Config struct {
	File string
	Flags

	// Reserved are issuers that nobody else may pass for.
	Reserved []string
	// Audiences are what requests are for: users that are known here are so for them.
	Audiences authenticator.Audiences
}

// patience bounds how long the issuers of a changed file may take to answer.
const patience = 5 * time.Minute

// Enabled reports whether there is anything to do.
func (c Config) Enabled() bool { return c.File != "" || !reflect.DeepEqual(c.Flags, Flags{}) }

// Check refuses what New would refuse.
func (c Config) Check() error {
	_, err := c.load()
	return err
}

// load reads the file, or has the flags in its form.
func (c Config) load() (*apiserver.AuthenticationConfiguration, error) {
	if c.File == "" {
		config, err := c.Flags.config()
		if err == nil {
			err = validation.ValidateAuthenticationConfiguration(cel.NewDefaultCompiler(), config, c.Reserved).ToAggregate()
		}
		if err != nil {
			return nil, fmt.Errorf("oidc-*: %w", err)
		}
		return config, nil
	}
	if !reflect.DeepEqual(c.Flags, Flags{}) {
		return nil, fmt.Errorf("authentication-config %s: it says who issues tokens, and so do flags oidc-*: leave one out", c.File)
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return nil, fmt.Errorf("authentication configuration: %w", err)
	}
	config, err := decode(text)
	if err == nil {
		err = validation.ValidateAuthenticationConfiguration(cel.NewDefaultCompiler(), config, c.Reserved).ToAggregate()
	}
	if err != nil {
		return nil, fmt.Errorf("authentication configuration: %w", configfile.Wrong(c.File, err))
	}
	return config, nil
}

func decode(text []byte) (*apiserver.AuthenticationConfiguration, error) {
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil, errors.New("the file is empty")
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	object, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), text)
	if err != nil {
		return nil, err
	}
	config, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("it is %T, and must be an AuthenticationConfiguration", object)
	}
	return config, nil
}

// Users knows users by their tokens.
type Users struct {
	authenticator.Request
	// Anonymous is what the file says about those who show nothing; nil: nothing.
	Anonymous *apiserver.AnonymousAuthConfig
}

// New is who c says. It asks the issuers for their keys when they answer, and follows changes of the file until ctx ends.
func New(ctx context.Context, c Config, log *slog.Logger) (Users, error) {
	config, err := c.load()
	if err != nil {
		return Users{}, err
	}
	algorithms := c.SigningAlgs
	if c.File != "" {
		algorithms = oidc.AllValidSigningAlgorithms()
	}
	request, update, _, _, err := kubeauthenticator.Config{
		AuthenticationConfig: config, OIDCSigningAlgs: algorithms, ServiceAccountIssuers: c.Reserved, APIServerID: "fairlead", APIAudiences: c.Audiences,
	}.New(ctx)
	if err != nil {
		return Users{}, fmt.Errorf("tokens of OpenID Connect: %w", err)
	}
	if c.File != "" {
		f := &follower{config: c, update: update, anonymous: config.Anonymous, log: log}
		f.read, _ = os.ReadFile(c.File) // if that fails, the next look at it is a change
		go filesystem.WatchUntil(ctx, time.Minute, c.File, func() { f.follow(ctx) }, func(err error) { log.Warn("a file is not watched", "file", c.File, "err", err) })
	}
	return Users{Request: request, Anonymous: config.Anonymous}, nil
}

// follower takes over what changes in the file. A file that became wrong is told of and changes nothing.
type follower struct {
	config    Config
	update    func(context.Context, *apiserver.AuthenticationConfiguration) error
	anonymous *apiserver.AnonymousAuthConfig
	log       *slog.Logger
	read      []byte // what was in force, or refused, last
}

func (f *follower) follow(ctx context.Context) {
	text, err := os.ReadFile(f.config.File)
	if err == nil && string(text) == string(f.read) {
		return
	}
	var config *apiserver.AuthenticationConfiguration
	if err == nil {
		config, err = f.config.load()
	}
	if err == nil && !reflect.DeepEqual(config.Anonymous, f.anonymous) {
		err = configfile.Wrong(f.config.File, field.Forbidden(field.NewPath("anonymous"), "can only be changed by a restart"))
	}
	if err != nil {
		f.log.Error("a changed file is not followed; what was in force stays", "file", f.config.File, "err", err)
		f.read = text
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f.update(ctx, config); err != nil {
		f.log.Error("a changed file is not followed yet: it is tried again", "file", f.config.File, "err", err)
		return
	}
	f.read = text
	f.log.Info("a changed file is in force", "file", f.config.File)
}
