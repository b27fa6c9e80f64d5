package openapi

import (
	"debug/elf"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/munnerz/goautoneg"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
)

const (
	root2 = "/openapi/v2"
	root3 = "/openapi/v3"

	asJSON   = "application/json"
	asProto2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	asProto3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	// Older clients ask for the names with an @, which is not a legal media type.
	oldProto2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	oldProto3 = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// Documents serves /openapi/v2 and /openapi/v3. A document is built when it is first asked for and kept
// compressed: together they take tenths of a second and tens of megabytes that most starts never need.
//
// The documents of the built-in groups depend on the program only, so the hash by which clients cache them
// is the program's build identity; those of custom resources on the definitions and their resource versions.
// So the index of /openapi/v3 is known without building anything.
type Documents struct {
	routes  func() []common.RouteContainer
	v2      *common.Config
	v3      *common.OpenAPIV3Config
	build   string
	byGroup map[string]*document // the built-in ones by group version, such as "apis/apps/v1"
	custom  *custom
	others  Others

	mu  sync.Mutex
	all *document // of the definitions whose mark is in all.mark
}

// NewDocuments serves what routes returns when a document is first asked for, grouped by root path.
// groups are those root paths without their leading slash. definitions are those of custom resources, others the groups of other servers.
func NewDocuments(groups []string, routes func() []common.RouteContainer, definitions Definitions, others Others, v2 *common.Config, v3 *common.OpenAPIV3Config) *Documents {
	d := &Documents{routes: routes, v2: v2, v3: v3, build: buildID(), others: others, byGroup: map[string]*document{}}
	d.custom = &custom{definitions: definitions, documents: map[string]*document{}}
	for _, group := range groups {
		d.byGroup[group] = &document{json: func() ([]byte, error) { return d.buildGroup(group) }, proto: handler3.ToV3ProtoBinary}
	}
	return d
}

// Mux is where the documents are installed.
type Mux interface {
	Handle(path string, h http.Handler)
	HandlePrefix(path string, h http.Handler)
}

// Install serves the documents on mux.
func (d *Documents) Install(mux Mux) {
	mux.Handle(root2, http.HandlerFunc(d.serveAll))
	mux.Handle(root3, http.HandlerFunc(d.serveIndex))
	mux.HandlePrefix(root3+"/", http.HandlerFunc(d.serveGroup))
}

func (d *Documents) serveAll(w http.ResponseWriter, r *http.Request) {
	doc, hash := d.wholeNow()
	switch negotiate(r, asJSON, asProto2, oldProto2) {
	case asJSON:
		doc.serve(w, r, asJSON, hash)
	case asProto2, oldProto2:
		doc.serve(w, r, asProto2, hash)
	default:
		w.WriteHeader(http.StatusNotAcceptable)
	}
}

// wholeNow is the document of everything, under the definitions there are now.
func (d *Documents) wholeNow() (*document, string) {
	mark := d.custom.mark() + d.markOfOthers()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil || d.all.mark != mark {
		d.all = &document{mark: mark, json: d.buildAll, proto: handler.ToProtoBinary}
	}
	return d.all, d.hash("v2" + mark)
}

func (d *Documents) serveIndex(w http.ResponseWriter, r *http.Request) {
	index := d.buildIndex()
	if fresh(w, r, d.hash("index"+string(index))) {
		return
	}
	w.Header().Set("Content-Type", asJSON)
	w.Write(index)
}

func (d *Documents) serveGroup(w http.ResponseWriter, r *http.Request) {
	group := strings.TrimPrefix(r.URL.Path, root3+"/")
	doc, ok := d.byGroup[group]
	if !ok {
		doc, ok = d.custom.document(group)
	}
	if !ok {
		d.others.Schema(group, w, r)
		return
	}
	hash := d.hash(group + doc.mark)
	switch asked := r.URL.Query().Get("hash"); asked {
	case "":
	case hash:
		// The address holds the content's hash, so its content never changes.
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	default:
		http.Redirect(w, r, groupURL(group, hash), http.StatusMovedPermanently)
		return
	}
	switch negotiate(r, asJSON, asProto3, oldProto3) {
	case asJSON:
		doc.serve(w, r, asJSON, hash)
	case asProto3, oldProto3:
		doc.serve(w, r, asProto3, hash)
	default:
		w.WriteHeader(http.StatusNotAcceptable)
	}
}

// negotiate is the offered media type the client likes best; without a wish it is the first.
func negotiate(r *http.Request, offered ...string) string {
	accept := r.Header.Get("Accept")
	if accept == "" {
		return offered[0]
	}
	return goautoneg.Negotiate(accept, offered)
}

// fresh sets the entity tag and answers 304 when the client has that very content.
func fresh(w http.ResponseWriter, r *http.Request, hash string) bool {
	tag := strconv.Quote(hash)
	w.Header().Set("ETag", tag)
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

// buildID identifies this very program: the linker's hash of everything it was built from. Where it cannot
// be read, the time of start stands in, and clients fetch the documents again after every start.
func buildID() string {
	const header = 16 // of the ELF note, before the identity
	program, err := elf.Open("/proc/self/exe")
	if err == nil {
		defer program.Close()
		if section := program.Section(".note.go.buildid"); section != nil {
			if note, err := section.Data(); err == nil && len(note) > header {
				return strings.TrimRight(string(note[header:]), "\x00")
			}
		}
	}
	return strconv.FormatInt(time.Now().UnixNano(), 36)
}
