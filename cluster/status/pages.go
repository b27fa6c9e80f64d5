package status

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/cluster/instance"
)

// Page is what the agent of a node told.
type Page struct {
	Node, Text string
}

// Pages asks the agents of all nodes for the same page, or that of one if node is not empty. The error is about the nodes that did
// not answer, or about all of it.
func Pages(ctx context.Context, inst instance.Instance, node, path string, query url.Values) ([]Page, error) {
	client, err := connect(inst)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	list, err := client.CoreV1().Nodes().List(asking, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("the API server does not say which nodes there are: %w; 'fairlead status' says what is missing", err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	if node != "" {
		if !slices.Contains(names, node) {
			return nil, fmt.Errorf("no node is named %q; there are: %s", node, strings.Join(names, ", "))
		}
		names = []string{node}
	}
	pages, unasked := make([]Page, len(names)), make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, nodePatience)
			defer cancel()
			request := client.CoreV1().RESTClient().Get().Resource("nodes").Name(name).SubResource("proxy").Suffix(strings.TrimPrefix(path, "/"))
			for key := range query {
				request = request.Param(key, query.Get(key))
			}
			text, err := request.DoRaw(ctx)
			if err != nil {
				unasked[i] = fmt.Errorf("node %s: %w", name, ownWords(err))
				return
			}
			pages[i] = Page{Node: name, Text: string(text)}
		})
	}
	group.Wait()
	var answered []Page
	for _, p := range pages {
		if p.Node != "" {
			answered = append(answered, p)
		}
	}
	return answered, errors.Join(unasked...)
}

// ownWords are what an agent said of a question that it refused, if that is all there is to the error.
func ownWords(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Reason != metav1.StatusReasonBadRequest || status.Status().Details == nil {
		return err
	}
	for _, cause := range status.Status().Details.Causes {
		if said := strings.TrimSpace(cause.Message); cause.Type == metav1.CauseTypeUnexpectedServerResponse && said != "" {
			return errors.New(said)
		}
	}
	return err
}
