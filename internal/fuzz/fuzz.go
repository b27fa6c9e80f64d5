package fuzz

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

const (
	// workers is how many requests are under way at once.
	workers = 8
	// patience is how long one takes at most; a watch or a stream that is still open then is fine.
	patience = 30 * time.Second
	// glance is how long one without an end is looked at.
	glance = 200 * time.Millisecond
)

// tooLarge is what a server says that waited for a resource version in vain.
const tooLarge = "Too large resource version"

// Finding is a request that was not answered as it should be.
type Finding struct {
	Method, Path, ContentType, Accept, Body string
	Answer                                  string // its code and the beginning of its body, or why there is none
}

// String is the finding in one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s %.300s: %s (Content-Type %q, Accept %q, body %.2000q)", f.Method, f.Path, f.Answer, f.ContentType, f.Accept, f.Body)
}

// fuzzer is one run.
type fuzzer struct {
	host   string
	client *http.Client
	corpus *corpus

	mu       sync.Mutex // guards below
	findings []Finding
	made     map[string]*request // how to delete the cluster-wide objects that were made, by path
}

// Run sends so many requests, made up from seed, to the server of cfg, and returns those that were answered wrongly. Objects that
// it made outside of its namespace are deleted at the end; the namespace stays for whoever wants to look.
func Run(ctx context.Context, cfg *rest.Config, seed uint64, requests int) ([]Finding, error) {
	plain := rest.CopyConfig(cfg)
	plain.WarningHandler, plain.QPS = rest.NoWarnings{}, -1
	client, err := rest.HTTPClientFor(plain)
	if err != nil {
		return nil, fmt.Errorf("fuzz: %w", err)
	}
	served, err := discovery.NewDiscoveryClientForConfigAndClient(plain, client)
	if err != nil {
		return nil, fmt.Errorf("fuzz: %w", err)
	}
	all, err := targets(served)
	if err != nil {
		return nil, fmt.Errorf("fuzz: %w", err)
	}
	f := &fuzzer{host: plain.Host, client: client, corpus: newCorpus(), made: map[string]*request{}}
	if err := prepare(ctx, f.send); err != nil {
		return nil, fmt.Errorf("fuzz: %w", err)
	}
	for _, t := range all {
		f.learn(ctx, t)
	}
	var crew sync.WaitGroup
	for w := range workers {
		dice := rand.New(rand.NewPCG(seed, uint64(w)))
		crew.Go(func() {
			for i := 0; i < requests/workers && ctx.Err() == nil; i++ {
				f.try(ctx, roll(dice, pick(dice, all), f.corpus))
			}
		})
	}
	crew.Wait()
	for _, r := range f.made {
		_, _, _ = f.send(context.WithoutCancel(ctx), r)
	}
	return f.findings, ctx.Err()
}

// learn keeps what there is of a resource.
func (f *fuzzer) learn(ctx context.Context, t target) {
	if t.subresource != "" {
		return
	}
	everywhere := target{gv: t.gv, resource: t.resource}.collection()
	code, answer, err := f.send(ctx, &request{method: "GET", path: everywhere, accept: typeJSON})
	if err != nil || code != http.StatusOK {
		return
	}
	var list struct{ Items []json.RawMessage }
	if json.Unmarshal([]byte(answer), &list) != nil {
		return
	}
	for _, item := range list.Items[:min(len(list.Items), 10)] {
		f.corpus.keep(f.corpus.objects, t.kind, string(item))
		var meta struct {
			Metadata struct{ Name, Namespace string }
		}
		if json.Unmarshal(item, &meta) != nil {
			continue
		}
		path := strings.Replace(t.named(meta.Metadata.Name), "/"+Namespace+"/", "/"+meta.Metadata.Namespace+"/", 1)
		if code, answer, err := f.send(ctx, &request{method: "GET", path: path, accept: typeProtobuf}); err == nil && code == http.StatusOK {
			f.corpus.keep(f.corpus.encoded, t.kind, answer)
		}
	}
}

// try sends a request and judges the answer.
func (f *fuzzer) try(ctx context.Context, r *request) {
	code, answer, err := f.send(ctx, r)
	wrong := ""
	switch {
	case err != nil && ctx.Err() == nil:
		wrong = err.Error()
	case code == http.StatusGatewayTimeout && (strings.Contains(answer, tooLarge) || r.query.Has("timeout")): // as asked for
	case code == http.StatusGatewayTimeout && r.method == http.MethodHead && r.query.Has("resourceVersion"): // the same without words
	case code >= 500 && (!r.target.connects || code == http.StatusInternalServerError):
		wrong = fmt.Sprintf("%d %.500q", code, answer)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if wrong != "" {
		f.findings = append(f.findings, Finding{Method: r.method, Path: r.path + "?" + r.query.Encode(), ContentType: r.contentType, Accept: r.accept, Body: r.body, Answer: wrong})
	}
	if code == http.StatusCreated && !r.target.namespaced {
		var meta struct{ Metadata struct{ Name string } }
		if json.Unmarshal([]byte(r.body), &meta) == nil && meta.Metadata.Name != "" {
			gone := r.target.removal(meta.Metadata.Name)
			f.made[gone.path] = gone
		}
	}
}

// send sends one request and reads its answer, or as much of it as there is soon when it has no end.
func (f *fuzzer) send(ctx context.Context, r *request) (int, string, error) {
	limit := patience
	if r.long {
		limit = glance
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	query := ""
	if len(r.query) > 0 {
		query = "?" + r.query.Encode()
	}
	out, err := http.NewRequestWithContext(ctx, r.method, f.host+r.path+query, strings.NewReader(r.body))
	if err != nil {
		return 0, "", fmt.Errorf("BUG: fuzz: %w", err)
	}
	for name, value := range map[string]string{"Content-Type": r.contentType, "Accept": r.accept} {
		if value != "" {
			out.Header.Set(name, value)
		}
	}
	answer, err := f.client.Do(out)
	if err != nil {
		if r.long && ctx.Err() != nil {
			err = nil
		}
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if r.long && ctx.Err() != nil {
		err = nil
	}
	return answer.StatusCode, string(body), err
}
