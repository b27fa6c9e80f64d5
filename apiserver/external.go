package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// etcdPatience is how long the servers of an external etcd may take to be there. The library would wait for longer, and then say
// only that it did.
const etcdPatience = 5 * time.Second

// reachEtcd returns when one of the servers can be connected to, or says what is wrong with each.
func reachEtcd(ctx context.Context, servers []string) error {
	ctx, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	for {
		var errs []error
		for _, server := range servers {
			err := knock(ctx, server)
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("etcd at %s: %w", server, err))
		}
		select {
		case <-ctx.Done():
			return errors.Join(errs...)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func knock(ctx context.Context, server string) error {
	at, err := url.Parse(server)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: time.Second}
	if at.Scheme == "unix" || at.Scheme == "unixs" {
		conn, err := dialer.DialContext(ctx, "unix", at.Host+at.Path)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if at.Host == "" {
		return errors.New("must be a URL such as http://192.0.2.1:2379")
	}
	port := at.Port()
	if port == "" {
		port = "2379"
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}
