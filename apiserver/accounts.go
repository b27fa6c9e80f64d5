package apiserver

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"fairlead.dev/fairlead/apiserver/serviceaccount"
)

// accounts is what the server has for service accounts: who signs their tokens, who says whose a token is, and what pods get.
type accounts struct {
	issuer    *serviceaccount.Issuer
	objects   *serviceaccount.Objects
	defaults  *serviceaccount.Defaults
	tokens    authenticator.Token
	admission *serviceaccount.Admission
}

func newAccounts(cfg Config, own *self) (*accounts, error) {
	issuer, err := serviceaccount.NewIssuer(cfg.Domain, cfg.AccountKeys)
	if err != nil {
		return nil, err
	}
	a := &accounts{issuer: issuer, objects: &serviceaccount.Objects{}, defaults: &serviceaccount.Defaults{CA: cfg.CA.CertPEM()}}
	if a.tokens, err = issuer.Authenticator(a.objects, own.client.CoreV1()); err != nil {
		return nil, err
	}
	a.admission = serviceaccount.NewAdmission(a.defaults, own.client, own.informers)
	return a, nil
}

// serve adds the subresource for tokens to the core group, and takes from it the storages that tokens and pods are judged by.
func (a *accounts) serve(core map[string]rest.Storage) error {
	for _, of := range []struct {
		resource string
		storage  *rest.Getter
	}{
		{"serviceaccounts", &a.objects.Accounts}, {"pods", &a.objects.Pods}, {"secrets", &a.objects.Secrets}, {"nodes", &a.objects.Nodes},
	} {
		var err error
		if *of.storage, err = getter(core, of.resource); err != nil {
			return err
		}
	}
	made, ok := core["serviceaccounts"].(serviceaccount.Storage)
	maps, also := core["configmaps"].(serviceaccount.Storage)
	if !ok || !also {
		return errors.New("service accounts or config maps cannot be created")
	}
	a.defaults.Accounts, a.defaults.ConfigMaps = made, maps
	core["serviceaccounts/token"] = a.issuer.Requests(a.objects)
	return nil
}

// publish serves the issuer's keys.
func (a *accounts) publish(api *genericapiserver.GenericAPIServer) error {
	metadata, err := a.issuer.Metadata(api.ExternalAddress)
	if err != nil {
		return err
	}
	metadata.Install(api.Handler.GoRestfulContainer)
	return nil
}

// SecretToken is the token of a service account to be kept in a Secret.
func (s *Server) SecretToken(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) (string, error) {
	issuer, err := serviceaccount.NewIssuer(s.cfg.Domain, s.cfg.AccountKeys)
	if err != nil {
		return "", fmt.Errorf("api server: %w", err)
	}
	return issuer.SecretToken(ctx, account, secret)
}
