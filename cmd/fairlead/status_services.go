package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/status"
	"fairlead.dev/fairlead/network/health"
)

// showAllServices prints every Service with what the nodes' kernels have made of it.
func showAllServices(ctx context.Context, inst instance.Instance, format string, out io.Writer) error {
	all, unasked, err := status.Services(ctx, inst)
	if err != nil {
		return err
	}
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(all)
	} else {
		err = showServices(out, all, time.Now())
	}
	return errors.Join(err, unasked)
}

// showServices prints a line for each Service and below it one for each of its endpoints.
func showServices(out io.Writer, all []health.ServiceSummary, now time.Time) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tADDRESS\tREADY\tCONNECTIONS\tPROGRAMMED")
	for _, o := range all {
		address := "None"
		if len(o.Addresses) > 0 {
			address = strings.Join(o.Addresses, ",")
		}
		fmt.Fprintf(w, "%s/%s\t%s\t%d/%d\t%s\t%s\n", o.Namespace, o.Name, address, o.Ready, o.Total, connections(o.Needed, o.Connections), programmed(o, now))
		for _, e := range o.Endpoints {
			where := "  on no node"
			if e.Node != "" {
				where = "  on " + e.Node
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", where, e.Address, e.State, connections(o.Needed, e.Connections))
		}
	}
	w.Flush()
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func connections(needed bool, n uint64) string {
	if !needed {
		return "-" // nothing is balanced: clients go to the endpoints by themselves
	}
	return fmt.Sprint(n)
}

// programmed says in how many kernels a Service is, and since when as it is now.
func programmed(o health.ServiceSummary, now time.Time) string {
	total := len(o.Nodes) + len(o.Missing)
	switch {
	case o.ServedBy != "":
		return "by " + o.ServedBy
	case !o.Needed:
		return "not needed"
	case len(o.Nodes) == 0:
		return "no"
	case len(o.Missing) > 0:
		return fmt.Sprintf("on %d of %d nodes, not on %s", len(o.Nodes), total, strings.Join(o.Missing, ","))
	}
	since := duration.HumanDuration(now.Sub(o.Since))
	if total == 1 {
		return "for " + since
	}
	return fmt.Sprintf("on all %d nodes, for %s", total, since)
}
