package kubeconfig

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/internal/durable"
)

// merged is what there is to know of a cluster's entries in a user's kubeconfig to take them out again. It lies in the
// cluster's own directory.
type merged struct {
	User     User     `json:"user"`
	Path     string   `json:"path"`
	Name     string   `json:"name"`
	CA       []byte   `json:"ca"`                 // PEM: only entries that trust it, or that it signed, are the cluster's
	MadeFile bool     `json:"madeFile,omitempty"` // there was no file
	MadeDirs []string `json:"madeDirs,omitempty"` // nor these directories, the outermost first
}

// Add puts the entry into the user's kubeconfig and makes it the current context; previous is the one that was current
// before, if that was another. What is needed to take it out is kept in the file record before anything is touched.
func (u User) Add(record string, e Entry) (previous string, err error) {
	m := merged{User: u, Path: u.Files[0], Name: e.Name, CA: e.CA}
	switch old, err := load(record); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	case old.Path == m.Path && old.User.UID == u.UID:
		m.MadeFile, m.MadeDirs = old.MadeFile, old.MadeDirs // a second start knows what was there before the first
	default:
		if err := Remove(record); err != nil { // from the kubeconfig of the start before
			return "", err
		}
	}
	err = u.do(func() error {
		if err := m.foreign(u.Files); err != nil {
			return err
		}
		if previous, err = current(u.Files); err != nil {
			return err
		}
		made, err := makeDirs(filepath.Dir(m.Path))
		m.MadeDirs = append(m.MadeDirs, made...)
		return err
	})
	if err != nil {
		return "", errors.Join(err, m.undoDirs())
	}
	if previous == e.Name {
		previous = ""
	}
	if err := m.change(record, func(d *document) error { return m.add(d, e) }); err != nil {
		return "", errors.Join(err, m.undoDirs())
	}
	return previous, nil
}

// change edits the user's file as that user, under its lock. The record is written before the file.
func (m *merged) change(record string, edit func(*document) error) error {
	var unlock func()
	var text []byte
	err := m.User.do(func() (err error) {
		if unlock, err = lock(m.Path); err != nil {
			return err
		}
		text, err = readFile(m.Path)
		return err
	})
	if unlock != nil {
		defer func() { m.User.do(func() error { unlock(); return nil }) }()
	}
	m.MadeFile = m.MadeFile || errors.Is(err, fs.ErrNotExist) && unlock != nil
	if errors.Is(err, fs.ErrNotExist) && unlock != nil {
		text, err = []byte("apiVersion: v1\nkind: Config\n"), nil
	}
	if err == nil {
		err = m.save(record)
	}
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	d := document{string(text)}
	if err := edit(&d); err != nil {
		return fmt.Errorf("kubeconfig %s: %w; it is left as it is", m.Path, err)
	}
	return m.User.do(func() error {
		if m.MadeFile && d.onlyOurs() {
			return os.Remove(m.Path)
		}
		if d.text == string(text) {
			return nil
		}
		return writeFile(m.Path, d.text)
	})
}

func (m *merged) save(record string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return durable.WriteFile(record, text, 0o600)
}

func load(record string) (merged, error) {
	var m merged
	text, err := os.ReadFile(record)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Path == "" || m.Name == "" || len(m.CA) == 0 {
		return m, fmt.Errorf("%s does not say what was added to which kubeconfig, a power cut may have emptied it: take the cluster's context out by hand ('kubectl config delete-context NAME', delete-cluster, delete-user), then remove that file", record)
	}
	return m, nil
}

// foreign refuses a name that one of the user's files has for something else, which the cluster's would hide.
func (m *merged) foreign(files []string) error {
	for _, path := range files {
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
		if _, err := clientcmd.Load(text); err != nil {
			return fmt.Errorf("kubeconfig %s: %w; it is left as it is", path, err)
		}
		has, err := document{string(text)}.read()
		if err != nil {
			return fmt.Errorf("kubeconfig %s: %w; it is left as it is", path, err)
		}
		for _, list := range []string{"contexts", "clusters", "users"} {
			if has.has(list, m.Name) && !m.owns(has, list) {
				return fmt.Errorf("kubeconfig %s: its %s %q is not this cluster's and stays as it is: rename or delete it ('kubectl config --help'), or give the cluster another --name", path, bodies[list], m.Name)
			}
		}
	}
	return nil
}

// current is the context that kubectl would use now.
func current(files []string) (string, error) {
	for _, path := range files {
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		has, err := document{string(text)}.read()
		if err != nil || has.current != nil && *has.current != "" {
			return *has.current, err
		}
	}
	return "", nil
}

// owns reports whether the entry of the cluster's name in a list is the cluster's: its authority, a certificate of that
// authority, or a context of the two. One that the user put in its place is not.
func (m *merged) owns(has meaning, list string) bool {
	body := has.entry(list, m.Name)
	field := func(key string) []byte {
		text, _ := body[key].(string)
		raw, _ := base64.StdEncoding.DecodeString(text) // what is not base64 is not ours
		return raw
	}
	switch list {
	case "clusters":
		return bytes.Equal(field("certificate-authority-data"), m.CA)
	case "users":
		return signed(field("client-certificate-data"), m.CA)
	}
	return body["cluster"] == m.Name && body["user"] == m.Name && (!has.has("clusters", m.Name) || m.owns(has, "clusters"))
}

// signed reports whether an authority signed a certificate.
func signed(certPEM, caPEM []byte) bool {
	cert, certErr := parseCert(certPEM)
	ca, caErr := parseCert(caPEM)
	return certErr == nil && caErr == nil && cert.CheckSignatureFrom(ca) == nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

// add puts the entry in, above what was current before.
func (m *merged) add(d *document, e Entry) error {
	has, err := d.read()
	if err != nil {
		return err
	}
	cluster := map[string]any{"server": e.Server, "certificate-authority-data": base64.StdEncoding.EncodeToString(e.CA)}
	who := map[string]any{"client-certificate-data": base64.StdEncoding.EncodeToString(e.Cert), "client-key-data": base64.StdEncoding.EncodeToString(e.Key)}
	context := has.entry("contexts", m.Name)
	if context == nil {
		context = map[string]any{"cluster": m.Name, "user": m.Name}
	}
	if err := errors.Join(d.put("clusters", m.Name, cluster), d.put("users", m.Name, who)); err != nil {
		return err
	}
	if has.current != nil && *has.current == m.Name {
		return d.put("contexts", m.Name, context)
	}
	if err := m.unlink(d); err != nil {
		return err
	}
	setPrevious(context, has.current)
	if err := d.put("contexts", m.Name, context); err != nil {
		return err
	}
	return d.use(&m.Name)
}

// unlink has contexts that would go back to this one go back to what was before it.
func (m *merged) unlink(d *document) error {
	has, err := d.read()
	if err != nil {
		return err
	}
	before := previousOf(has.entry("contexts", m.Name))
	for name := range has.lists["contexts"] {
		context := has.entry("contexts", name)
		if p := previousOf(context); name == m.Name || p == nil || *p != m.Name {
			continue
		}
		setPrevious(context, before)
		if err := d.put("contexts", name, context); err != nil {
			return err
		}
	}
	return nil
}

// takeOut removes what is still the cluster's, and makes current what was so before.
func (m *merged) takeOut(d *document) error {
	has, err := d.read()
	if err != nil {
		return err
	}
	if has.has("contexts", m.Name) && m.owns(has, "contexts") {
		if err := m.unlink(d); err != nil {
			return err
		}
		if has.current != nil && *has.current == m.Name {
			if err := d.use(previousOf(has.entry("contexts", m.Name))); err != nil {
				return err
			}
		}
	} else if has.current != nil && *has.current == m.Name && !has.has("contexts", m.Name) {
		if err := d.use(new(string)); err != nil { // the user deleted the context, kubectl leaves it current
			return err
		}
	}
	for _, list := range []string{"contexts", "users", "clusters"} {
		if has.has(list, m.Name) && m.owns(has, list) {
			if err := d.drop(list, m.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove takes the cluster's entries out of the kubeconfig that the record names. Without a record there is nothing to do.
func Remove(record string) error {
	m, err := load(record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = m.User.do(func() error {
		_, err := os.Stat(filepath.Dir(m.Path))
		return err
	})
	if err == nil {
		err = m.change(record, m.takeOut)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(m.undoDirs(), os.Remove(record))
}

// undoDirs removes the directories that were made, where nobody put anything into them.
func (m *merged) undoDirs() error {
	return m.User.do(func() error {
		for _, dir := range slices.Backward(m.MadeDirs) {
			os.Remove(dir) // fails, and should, if something is in it
		}
		return nil
	})
}

// previousContext names the extension of a context that says which one was current before it.
const previousContext = "fairlead.dev/previous-context"

// previousOf is the context that was current before this one, nil where none was.
func previousOf(context map[string]any) *string {
	list, _ := context["extensions"].([]any)
	for _, item := range list {
		extension, _ := item.(map[string]any)
		if extension["name"] == previousContext {
			body, _ := extension["extension"].(map[string]any)
			if name, ok := body["name"].(string); ok {
				return &name
			}
		}
	}
	return nil
}

// setPrevious notes in a context which one was current before it.
func setPrevious(context map[string]any, previous *string) {
	list, _ := context["extensions"].([]any)
	list = slices.DeleteFunc(slices.Clone(list), func(item any) bool {
		extension, _ := item.(map[string]any)
		return extension["name"] == previousContext
	})
	if previous != nil {
		list = append(list, map[string]any{"name": previousContext, "extension": map[string]any{"name": *previous}})
	}
	delete(context, "extensions")
	if len(list) > 0 {
		context["extensions"] = list
	}
}
