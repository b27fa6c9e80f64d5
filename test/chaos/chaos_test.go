package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

var (
	rounds = flag.Int("rounds", len(faults), "how many faults; fewer than there are kinds of leaves some out")
	seed   = flag.Uint64("seed", 0, "of the random numbers; 0: another each time")
	only   = flag.String("only", "", "a regular expression: faults whose names match it, and no others")
	report = flag.Bool("write", false, "write the counts to docs/reliability.md")
)

// writers is how many clients write at once.
const writers = 8

// patience is how long anything may take to be right again after a fault.
const patience = time.Minute

// between is how long the writers are left alone from one fault to the next, at most.
const between = time.Second

// run is one run of the whole test.
type run struct {
	*load
	t        *testing.T
	cluster  *cluster
	typed    kubernetes.Interface
	watchers []*watcher
	random   *rand.Rand
	happened map[string]int // faults by name
	checks   int
}

func TestChaos(t *testing.T) {
	r := newRun(t)
	r.prepare()
	canary := newCanary(r)
	stop := r.start()
	faults := chosen(t)
	for i := range *rounds {
		r.round(faults[(i+r.random.IntN(2)*r.random.IntN(len(faults)))%len(faults)])
		if i%10 == 9 {
			canary.sings()
		}
	}
	stop()
	canary.sings()
	r.everyNumber()
	t.Logf("%s", r.counts.table(r))
	if *report && !t.Failed() {
		r.write()
	}
}

// newRun starts a lab for a test.
func newRun(t *testing.T) *run {
	t.Helper()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	klog.SetLogger(logr.Discard()) // what the client library says of requests that were ended on purpose
	c := newCluster(t, 1600)
	c.must(c.up())
	c.must(c.fairlead("image", "import", "../../build/images/demoapp.tar"))
	typed, loose := c.clients()
	return &run{
		t: t, cluster: c, typed: typed, random: rand.New(rand.NewPCG(*seed, 1)), happened: map[string]int{},
		load: &load{client: loose, acks: map[string][]uint64{}},
	}
}

// chosen are the faults that the command line wants.
func chosen(t *testing.T) []fault {
	t.Helper()
	form, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	some := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !form.MatchString(f.name) })
	if len(some) == 0 {
		t.Fatalf("no fault matches %q", *only)
	}
	return some
}

// prepare makes the namespace and the definition that the writers need.
func (r *run) prepare() {
	r.t.Helper()
	ctx := r.t.Context()
	if _, err := r.typed.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
	definitions := r.client.Resource(resource("apiextensions.k8s.io", "v1", "customresourcedefinitions"))
	if _, err := definitions.Create(ctx, parse(widgets), metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("every kind is served", func() error {
		for _, k := range kinds {
			if _, err := r.client.Resource(k.GroupVersionResource).Namespace(space).List(ctx, metav1.ListOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// start sets the writers and the watchers to work; the function it returns ends them.
func (r *run) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var busy sync.WaitGroup
	for i := range writers {
		w := &writer{load: r.load, name: fmt.Sprintf("w%d", i), random: rand.New(rand.NewPCG(*seed, uint64(i+2)))}
		r.writers = append(r.writers, w)
		busy.Go(func() { w.work(ctx) })
	}
	for _, k := range kinds {
		w := &watcher{load: r.load, kind: k, seen: map[uint64]bool{}}
		r.watchers = append(r.watchers, w)
		busy.Go(func() { w.work(ctx) })
	}
	return func() { cancel(); busy.Wait() }
}

// round lets one thing go wrong and checks everything once it is over.
func (r *run) round(f fault) {
	r.t.Helper()
	time.Sleep(time.Duration(r.random.Int64N(int64(between))))
	since := time.Now()
	if err := f.do(r.cluster); err != nil {
		r.t.Fatalf("%s: %v", f.name, err)
	}
	r.happened[f.name]++
	r.eventually("after '"+f.name+"' the cluster is whole again", func() error { return r.cluster.whole(r.t.Context(), r.typed, since) })
	r.check()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) > 0 {
		r.t.Errorf("after '%s':\n%s", f.name, strings.Join(r.faults[:min(len(r.faults), 20)], "\n"))
		r.faults = nil
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// check pauses the writers and compares what is with what may be.
func (r *run) check() {
	r.t.Helper()
	r.checks++
	r.pause.Lock()
	defer r.pause.Unlock()
	for i, k := range kinds {
		items := r.list(k)
		for _, w := range r.writers {
			for _, o := range slices.Concat(w.objects, w.lost) {
				if o.GroupVersionResource == k.GroupVersionResource {
					w.saw(o, items[o.name])
				}
			}
		}
		r.eventually("the watch of "+k.Resource+" has seen everything", func() error { return r.watchers[i].agrees(revisions(r.list(k))) })
		if missed := r.watchers[i].missed(r.acks[k.Resource]); len(missed) > 0 {
			r.wrong("watch of %s: no event told of the writes acknowledged with the revisions %v", k.Resource, missed)
		}
		r.acks[k.Resource] = nil
	}
	r.noneTwice()
}

func (r *run) list(k kind) map[string]*unstructured.Unstructured {
	r.t.Helper()
	items := map[string]*unstructured.Unstructured{}
	r.eventually("list "+k.Resource, func() error {
		list, err := r.client.Resource(k.GroupVersionResource).Namespace(space).List(r.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		clear(items)
		for i := range list.Items {
			items[list.Items[i].GetName()] = &list.Items[i]
		}
		return nil
	})
	return items
}

func revisions(items map[string]*unstructured.Unstructured) map[string]uint64 {
	all := map[string]uint64{}
	for name, u := range items {
		all[name] = revision(u.GetResourceVersion())
	}
	return all
}

// noneTwice looks for addresses and ports that two Services have.
func (r *run) noneTwice() {
	r.t.Helper()
	list, err := r.typed.CoreV1().Services("").List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	owner := map[string]string{}
	claim := func(what, name string) {
		if other := owner[what]; other != "" {
			r.wrong("Services %s and %s both have %s", other, name, what)
		}
		owner[what] = name
	}
	for _, s := range list.Items {
		if s.Spec.ClusterIP != corev1.ClusterIPNone {
			claim("ClusterIP "+s.Spec.ClusterIP, s.Name)
		}
		for _, p := range s.Spec.Ports {
			if p.NodePort > 0 {
				claim(fmt.Sprintf("node port %d %s", p.NodePort, p.Protocol), s.Name)
			}
		}
	}
}

// everyNumber deletes all that was written and takes every node port once: none may have been lost, and there are no more.
func (r *run) everyNumber() {
	r.t.Helper()
	ctx := r.t.Context()
	services := r.typed.CoreV1().Services(space)
	r.eventually("the Services are gone", func() error {
		list, err := services.List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			return err
		}
		for _, s := range list.Items {
			if err := services.Delete(ctx, s.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		return fmt.Errorf("%d are left", len(list.Items))
	})
	// What a write that nobody waited for any more has taken is given back within a while.
	r.eventually("every node port can be had", func() error {
		if _, err := services.Create(ctx, ofPorts("all", ports), metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := services.Create(ctx, ofPorts("more", 1), metav1.CreateOptions{})
		if err == nil {
			r.t.Fatal("a node port beyond the last")
		}
		if !strings.Contains(err.Error(), "range is full") {
			return err
		}
		return services.Delete(ctx, "all", metav1.DeleteOptions{})
	})
}

// ofPorts is a Service with n node ports.
func ofPorts(name string, n int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}}
	for i := range n {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p%d", i), Port: int32(i + 1)})
	}
	return s
}

func (r *run) eventually(what string, try func() error) {
	r.t.Helper()
	if err := eventually(patience, try); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.t.Fatalf("%s: not within %s: %v\n%s", what, patience, err, strings.Join(slices.Clone(r.faults), "\n"))
	}
}
