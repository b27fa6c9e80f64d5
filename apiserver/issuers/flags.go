package issuers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"k8s.io/apiserver/pkg/apis/apiserver"
)

// Flags are kube-apiserver's flags oidc-*: a single issuer.
type Flags struct {
	IssuerURL, ClientID           string
	UsernameClaim, UsernamePrefix string // sub; the issuer and #, and - is none
	GroupsClaim, GroupsPrefix     string
	CAFile                        string            // who signs the issuer's certificate; empty: who the system trusts
	RequiredClaims                map[string]string // what a token must say
	SigningAlgs                   []string          // RS256
}

// config is what the flags mean, as kube-apiserver has them.
func (f Flags) config() (*apiserver.AuthenticationConfiguration, error) {
	if f.IssuerURL == "" || f.ClientID == "" {
		return nil, errors.New("oidc-issuer-url and oidc-client-id are needed, both")
	}
	claim, prefix := f.UsernameClaim, f.UsernamePrefix
	if claim == "" {
		claim = "sub"
	}
	switch {
	case prefix == "-":
		prefix = ""
	case prefix == "" && claim != "email":
		prefix = f.IssuerURL + "#"
	}
	issuer := apiserver.JWTAuthenticator{
		Issuer:        apiserver.Issuer{URL: f.IssuerURL, Audiences: []string{f.ClientID}},
		ClaimMappings: apiserver.ClaimMappings{Username: apiserver.PrefixedClaimOrExpression{Prefix: &prefix, Claim: claim}},
	}
	if f.GroupsClaim != "" {
		issuer.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Prefix: &f.GroupsPrefix, Claim: f.GroupsClaim}
	}
	if f.CAFile != "" {
		text, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("oidc-ca-file: %w", err)
		}
		issuer.Issuer.CertificateAuthority = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(f.RequiredClaims)) {
		issuer.ClaimValidationRules = append(issuer.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: name, RequiredValue: f.RequiredClaims[name]})
	}
	return &apiserver.AuthenticationConfiguration{JWT: []apiserver.JWTAuthenticator{issuer}}, nil
}
