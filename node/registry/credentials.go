package registry

import (
	"fmt"
	"os"
	"strings"

	"github.com/distribution/reference"
)

// Credential is what one server is shown. No other server is: a mirror does not get what the registry is shown, nor the other way.
type Credential struct {
	Server             string // URL without a path, by which the runtime knows whom to show it to
	Username, Password string
}

// Credentials are those that the settings have for an image: of its registry's mirrors, then of the registry.
func (r Registries) Credentials(image string) ([]Credential, error) {
	name, err := Of(image)
	if err != nil {
		return nil, err
	}
	own, said := r.Hosts[name]
	mirrors := own.Mirrors
	if !said {
		mirrors = r.Hosts[Others].Mirrors
	}
	var found []Credential
	add := func(server string, h Host) error {
		if h.Username == "" {
			return nil
		}
		password := h.Password
		if h.PasswordFile != "" {
			text, err := os.ReadFile(h.PasswordFile)
			if err != nil {
				return fmt.Errorf("password of %s: %w", server, err)
			}
			password = strings.TrimRight(string(text), "\r\n")
		}
		found = append(found, Credential{Server: server, Username: h.Username, Password: password})
		return nil
	}
	for _, m := range mirrors {
		u, err := mirrorURL(m)
		if err != nil {
			return nil, fmt.Errorf("mirror %q of %s: %w", m, name, err)
		}
		if err := add(u.Scheme+"://"+u.Host, r.Hosts[hostOf(u, r.Hosts)]); err != nil {
			return nil, err
		}
	}
	return found, add(origin(name, own), own)
}

// Of is the registry of an image, as names of images say it: docker.io where they say none.
func Of(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	return reference.Domain(named), nil
}

// Server is the URL by which the runtime knows the registry of an image.
func (r Registries) Server(image string) (string, error) {
	name, err := Of(image)
	return origin(name, r.Hosts[name]), err
}

// advice is what a person can do about errors of pulls, by what these say.
var advice = []struct{ says, remedy string }{
	{"x509: certificate signed by unknown authority", "its authority is not one that this node knows: name the file with registries.hosts.%[1]q.ca in config.yaml"},
	{"http: server gave HTTP response to HTTPS client", "it speaks plain HTTP: say registries.hosts.%[1]q.plainHTTP in config.yaml if that is meant"},
	{"401 Unauthorized", "it does not take these credentials, or wants some: an imagePullSecret of the pod, or registries.hosts.%[1]q in config.yaml"},
	{"no basic auth credentials", "it wants credentials: an imagePullSecret of the pod, or registries.hosts.%[1]q in config.yaml"},
	{"no such host", "the name of the registry is not known to this node's DNS"},
	{"network is unreachable", "this node has no way there; images can also be brought by fairlead image import"},
	{"no space left on device", "the node's disk is full"},
}

// Advice is what to do about an error of a pull, "" where the error alone has to do.
func Advice(image, failure string) string {
	name, err := Of(image)
	if err != nil {
		return ""
	}
	for _, a := range advice {
		if strings.Contains(failure, a.says) {
			text := a.remedy
			if strings.Contains(text, "%[1]q") {
				text = fmt.Sprintf(text, name)
			}
			return text
		}
	}
	return ""
}
