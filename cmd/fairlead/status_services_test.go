package main

import (
	"bytes"
	"testing"
	"time"

	"fairlead.dev/fairlead/network/health"
)

func TestShowServices(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	endpoints := []health.EndpointStatus{{Address: "10.244.1.2:80", Node: "n1", State: "ready", Connections: 12}, {Address: "10.244.2.2:80", State: "not ready"}}
	var out bytes.Buffer
	if err := showServices(&out, []health.ServiceSummary{
		{Namespace: "default", Name: "web", Addresses: []string{"10.96.0.5"}, Ready: 1, Total: 2, Endpoints: endpoints, Connections: 12, Needed: true,
			Since: now.Add(-5 * time.Minute), Nodes: []string{"n1", "n2"}},
		{Namespace: "default", Name: "half", Addresses: []string{"10.96.0.6", "fd00::6"}, Needed: true, Nodes: []string{"n1"}, Missing: []string{"n2"}},
		{Namespace: "default", Name: "none", Addresses: []string{"10.96.0.7"}, Needed: true, Missing: []string{"n1", "n2"}},
		{Namespace: "default", Name: "alone", Addresses: []string{"10.96.0.8"}, Needed: true, Nodes: []string{"n1"}, Since: now.Add(-3 * time.Second)},
		{Namespace: "default", Name: "headless", Addresses: []string{"None"}, Ready: 1, Total: 1, Endpoints: endpoints[:1]},
	}, now); err != nil {
		t.Fatal(err)
	}
	const want = `SERVICE            ADDRESS             READY       CONNECTIONS   PROGRAMMED
default/web        10.96.0.5           1/2         12            on all 2 nodes, for 5m
  on n1            10.244.1.2:80       ready       12
  on no node       10.244.2.2:80       not ready   0
default/half       10.96.0.6,fd00::6   0/0         0             on 1 of 2 nodes, not on n2
default/none       10.96.0.7           0/0         0             no
default/alone      10.96.0.8           0/0         0             for 3s
default/headless   None                1/1         -             not needed
  on n1            10.244.1.2:80       ready       -
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
