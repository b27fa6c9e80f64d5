// Package kubeconfig writes the administrator's kubeconfig, and adds a cluster's context to the invoking
// user's own file and takes it out again.
//
// The user's file is edited as a text: entries of the cluster are put in and taken out, and every other byte stays as it
// is. No copy of the file is kept anywhere. What was the current context before is noted in the cluster's own context, so
// that clusters which come and go in any order leave the one that was there first.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"

	"fairlead.dev/fairlead/internal/durable"
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
	c.Clusters[e.Name] = &api.Cluster{Server: e.Server, CertificateAuthorityData: e.CA}
	c.AuthInfos[e.Name] = &api.AuthInfo{ClientCertificateData: e.Cert, ClientKeyData: e.Key}
	c.Contexts[e.Name] = &api.Context{Cluster: e.Name, AuthInfo: e.Name}
	c.CurrentContext = e.Name
	return c
}

// Write writes the entry as a kubeconfig of its own, readable by its owner only.
func (e Entry) Write(path string) error {
	text, err := clientcmd.Write(*e.Config())
	if err != nil {
		return err
	}
	return durable.WriteFile(path, text, 0o600)
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
