package cluster

import (
	"reflect"
	"testing"

	"fairlead.dev/fairlead/apiserver/issuers"
	"fairlead.dev/fairlead/cluster/config"
)

// TestIssuersOf: what flags say of an issuer is what the API server is told, all of it, and none takes it back.
func TestIssuersOf(t *testing.T) {
	var s config.Settings
	s.OIDC = config.OIDC{OIDCIssuerURL: "https://i", OIDCClientID: "c", OIDCUsernameClaim: "u", OIDCUsernamePrefix: "up", OIDCGroupsClaim: "g", OIDCGroupsPrefix: "gp",
		OIDCCAFile: "/ca", OIDCRequiredClaim: map[string]string{"a": "b"}, OIDCSigningAlgs: []string{"ES256"}}
	got := issuersOf(s)
	for i := range reflect.TypeFor[issuers.Flags]().NumField() {
		if reflect.ValueOf(got.Flags).Field(i).IsZero() {
			t.Errorf("%s is not told", reflect.TypeFor[issuers.Flags]().Field(i).Name)
		}
	}
	s.OIDCIssuerURL, s.AuthenticationConfig = config.None, config.None
	if got := issuersOf(s); got.Enabled() {
		t.Errorf("taken back: %+v", got)
	}
}
