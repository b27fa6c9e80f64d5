// Package kubeconfig writes the administrator's kubeconfig, and adds a cluster's context to the invoking
// user's own file and takes it out again.
//
// Taking out restores the user's file byte for byte if nobody changed it meanwhile; otherwise it removes
// exactly the three entries of the cluster.
package kubeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

// Entry is a cluster, the client certificate to use it with, and the context that joins the two, all three
// under one name.
type Entry struct {
	Name          string
	Server        string // https://ADDR:PORT
	CA, Cert, Key []byte // PEM
}

// Config is the entry as a kubeconfig of its own.
func (e Entry) Config() *api.Config {
	c := api.NewConfig()
	e.addTo(c)
	return c
}

// Write writes the entry as a kubeconfig of its own, readable by its owner only.
func (e Entry) Write(path string) error {
	text, err := clientcmd.Write(*e.Config())
	if err != nil {
		return err
	}
	return replace(path, text, owner{})
}

// Read is the entry that Write wrote.
func Read(path string) (Entry, error) {
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return Entry{}, fmt.Errorf("kubeconfig: %w", err)
	}
	name := c.CurrentContext
	cluster, who := c.Clusters[name], c.AuthInfos[name]
	if cluster == nil || who == nil {
		return Entry{}, fmt.Errorf("kubeconfig %s: was not written by Fairlead", path)
	}
	return Entry{Name: name, Server: cluster.Server, CA: cluster.CertificateAuthorityData, Cert: who.ClientCertificateData, Key: who.ClientKeyData}, nil
}

func (e Entry) addTo(c *api.Config) {
	c.Clusters[e.Name] = &api.Cluster{Server: e.Server, CertificateAuthorityData: e.CA}
	c.AuthInfos[e.Name] = &api.AuthInfo{ClientCertificateData: e.Cert, ClientKeyData: e.Key}
	c.Contexts[e.Name] = &api.Context{Cluster: e.Name, AuthInfo: e.Name}
	c.CurrentContext = e.Name
}

// Merge is a change made to a user's kubeconfig, with what is needed to take it back.
type Merge struct {
	Path     string
	Name     string
	Original []byte // nil: there was no file
	Dir      bool   // the directory was made too
	Written  []byte
}

// UserFile is the kubeconfig of the user who invoked the program, also under sudo.
func UserFile() (path string, err error) {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return filepath.SplitList(path)[0], nil
	}
	who, err := invoker()
	if err != nil {
		return "", err
	}
	return filepath.Join(who.HomeDir, ".kube", "config"), nil
}

func invoker() (*user.User, error) {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return user.Lookup(name)
	}
	if home := os.Getenv("HOME"); home != "" {
		return &user.User{Uid: strconv.Itoa(os.Getuid()), Gid: strconv.Itoa(os.Getgid()), HomeDir: home}, nil
	}
	return user.Current()
}

// Add puts the entry into the kubeconfig at path and makes it the current context. The returned Merge is
// kept in record before the file is touched.
func Add(path, record string, e Entry) error {
	m := Merge{Path: path, Name: e.Name}
	config := api.NewConfig()
	original, err := os.ReadFile(path)
	switch {
	case err == nil:
		if config, err = clientcmd.Load(original); err != nil {
			return fmt.Errorf("kubeconfig %s: %w; it is left as it is", path, err)
		}
		m.Original = original
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		m.Dir = true
	}
	if previous, ok := load(record); ok && previous.Path == path {
		m.Original, m.Dir = previous.Original, previous.Dir // a second start keeps what was there before the first
	}
	e.addTo(config)
	if m.Written, err = clientcmd.Write(*config); err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(record, text, 0o600); err != nil {
		return err
	}
	return m.write(m.Written)
}

// Remove takes back what Add recorded. Without a record there is nothing to do.
func Remove(record string) error {
	m, ok := load(record)
	if !ok {
		return nil
	}
	now, err := os.ReadFile(m.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("kubeconfig: %w", err)
	case !bytes.Equal(now, m.Written):
		err = m.takeOut(now)
	case m.Original == nil:
		err = os.Remove(m.Path)
	default:
		err = m.write(m.Original)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if m.Dir {
		os.Remove(filepath.Dir(m.Path)) // stays if the user put something into it
	}
	return os.Remove(record)
}

// takeOut removes the cluster's entries from a file that changed since.
func (m Merge) takeOut(now []byte) error {
	config, err := clientcmd.Load(now)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w; take the entries named %q out by hand", m.Path, err, m.Name)
	}
	delete(config.Clusters, m.Name)
	delete(config.AuthInfos, m.Name)
	delete(config.Contexts, m.Name)
	if config.CurrentContext == m.Name {
		config.CurrentContext = ""
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return m.write(text)
}

func (m Merge) write(text []byte) error {
	who, err := invoker()
	if err != nil {
		return err
	}
	var o owner
	if o.uid, err = strconv.Atoi(who.Uid); err != nil {
		return err
	}
	if o.gid, err = strconv.Atoi(who.Gid); err != nil {
		return err
	}
	dir := filepath.Dir(m.Path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		if err := os.Chown(dir, o.uid, o.gid); err != nil {
			return err
		}
	}
	return replace(m.Path, text, o)
}

func load(record string) (Merge, bool) {
	var m Merge
	text, err := os.ReadFile(record)
	return m, err == nil && json.Unmarshal(text, &m) == nil
}

type owner struct{ uid, gid int }

// replace writes a file at once, so that a crash leaves the old or the new one whole.
func replace(path string, text []byte, o owner) error {
	tmp := path + ".fairlead-new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if err := os.Chown(tmp, o.uid, o.gid); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, path)
}
