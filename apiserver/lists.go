package apiserver

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/util/flowcontrol"

	"fairlead.dev/fairlead/apiserver/turns"
)

const (
	// listsWaiting is how many lists wait for their turn. It stays below the number of requests in flight that the server
	// takes, so that those who wait keep nobody else out.
	listsWaiting = 250
	// listPatience is how long a list waits at most, a quarter of a request's time as in upstream's queues.
	listPatience = 15 * time.Second
	// listTurn is how long a list keeps others waiting. One that takes longer has a slow client more often than much to say.
	listTurn = time.Second
)

// listTurns is for how many lists there is room at once: half of the processors.
func listTurns() *turns.Turns { return turns.New(max(1, runtime.GOMAXPROCS(0)/2), listsWaiting) }

// withTurns has lists wait for each other, and watches that begin with one. A list costs processor time and memory by its size,
// and a few hundred large ones at once would leave nothing for anybody else; every other request is small. Each collection has
// its own line, so a crowd that lists one delays a list of another by one turn. Priority and fairness, upstream's means, exempts
// administrators, who are nearly all clients here. The program's own parts and the nodes never wait: no pod may suffer from a crowd.
func withTurns(api http.Handler, room *turns.Turns, codecs apiruntime.NegotiatedSerializer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := genericapirequest.RequestInfoFrom(r.Context())
		if !ok || !lists(info, r) || ofTheCluster(r.Context()) {
			api.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), listPatience)
		defer cancel()
		done, err := room.Take(ctx, r.URL.Path)
		if err != nil {
			err := apierrors.NewTooManyRequests("too many clients list at once, please try again later", 1)
			responsewriters.ErrorNegotiated(err, codecs, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, w, r)
			return
		}
		defer done()
		defer time.AfterFunc(listTurn, done).Stop()
		if info.Verb == "watch" {
			r = r.WithContext(flowcontrol.WithInitializationSignal(r.Context(), listed(done)))
		}
		api.ServeHTTP(w, r)
	})
}

// lists says whether a request asks for what there is: a list, or a watch that does not go on from where another one was.
func lists(info *genericapirequest.RequestInfo, r *http.Request) bool {
	if !info.IsResourceRequest || info.Verb != "list" && info.Verb != "watch" {
		return false
	}
	query := r.URL.Query()
	from := query.Get("resourceVersion")
	return info.Verb == "list" || from == "" || from == "0" || query.Get("sendInitialEvents") == "true"
}

// listed is what a watch calls when it has sent what there was.
type listed func()

// Signal is part of flowcontrol.InitializationSignal.
func (l listed) Signal() { l() }

// Wait is part of flowcontrol.InitializationSignal, and nobody's need here.
func (listed) Wait() {}

// ofTheCluster says whether a request comes from a node or from this program itself.
func ofTheCluster(ctx context.Context) bool {
	u, ok := genericapirequest.UserFrom(ctx)
	return ok && (u.GetName() == user.APIServerUser || slices.Contains(u.GetGroups(), user.NodesGroup))
}
