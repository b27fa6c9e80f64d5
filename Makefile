# Fairlead: `make help` lists what there is to make.

# The version is that of the nearest tag, or the one in cmd/fairlead/main.go with the commit.
VERSION := $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || \
	echo "$$(sed -n 's/^var version = "\(.*\)"/\1/p' cmd/fairlead/main.go)+$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)")

# The same for building and testing, so that nothing is compiled twice.
export CGO_ENABLED = 0
export GOFLAGS = -mod=readonly -trimpath

# Packages whose tests need neither root, nor a kernel feature, nor a running API server. internal/policy sees to it that every package
# that only computes is among them.
QUICK = ./alloc ./api/... ./apiserver/auth ./apiserver/loopback ./apiserver/turns ./cluster/config ./cluster/status \
	./controller/bgp/report ./controller/endpoints/plan ./controller/external/healthcheck ./controller/garbage/content ./controller/garbage/ownership ./controller/ingress/plan ./controller/loadbalancer/plan ./controller/nodes/lifecycle \
	./controller/scheduler/placement ./controller/why/reported ./controller/workload/plan ./internal/heap ./internal/keeper ./internal/policy ./internal/script ./kube \
	./network/announce/bgp/plan ./network/announce/plan ./network/announce/wire ./network/dns ./network/dns/zone ./network/lb/... ./network/l7/htpasswd ./network/l7/http1 ./network/l7/http2 ./network/l7/proxyproto ./network/l7/route ./network/l7/gateway ./network/l7/ingress ./network/l7/service ./network/nft/plan ./network/nft/rule ./network/nft/wire ./network/policy ./network/world ./node/imagegc ./node/kuberuntime ./node/life ./node/metrics \
	./node/nodestatus ./node/podlog ./node/probe ./node/pulls ./node/registry ./node/spec ./pki/... ./test/chaos/history ./test/conformance/report ./test/demoapp ./why

# Packages in which much runs at once.
RACE = ./kube ./network/announce ./network/dns ./controller/endpoints ./controller/external ./network/lb ./network/nft ./node ./network/route ./network/world

# Packages whose tests compare the whole host before and after: nothing else may run beside them.
ALONE = ./test/demos/... ./test/scenario/... ./test/chaos

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: go ## bin/fairlead, one static program
	go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/fairlead ./cmd/fairlead

.PHONY: images
images: go ## build/images/*.tar: demoapp, nginx, busybox, from this repository and Debian's packages
	go run ./test/bake -o build/images -cache build/packages

.PHONY: operator
operator: go ## build/images/greeter.tar: the operator that one of the demonstrations runs
	go run ./test/bake -operator -o build/images

# The containerd after Debian's, built from its module; only the tests use it. Without what a node has no use for it takes one or
# two minutes on two cores, once.
NEWER = build/containerd2/containerd

$(NEWER): setup/containerd2/go.mod
	cd setup/containerd2 && go build -tags no_btrfs,no_devmapper,no_zfs,no_systemd \
		-ldflags '-s -w -X github.com/containerd/containerd/v2/version.Version='$$(sed -n 's|.*containerd/v2 v\([0-9.]*\).*|\1|p' go.mod) -o ../../build/containerd2/ tool

.PHONY: setup
setup: ## install the tools that are missing (as root, Debian 12); starts no service
	@setup/install

.PHONY: demo
demo: setup build images ## build, start a cluster on this host, and show it working
	test/demos/demo.sh

.PHONY: test
test: go ## everything: real kernel, real containers, kubectl scripts (as root)
	@setup/install tests
	$(MAKE) build images operator lint
	go test -count=1 -timeout 15m $$(go list ./... | grep -v -e '/test/demos' -e '/test/scenario' -e '/test/chaos$$')
	$(MAKE) newer
	go test -count=1 -timeout 20m -p 1 $(ALONE)
	test/conformance/gateway/run.sh -conformance-profiles GATEWAY-HTTP -supported-features Gateway,HTTPRoute,ReferenceGrant -report-output /dev/null
	@echo 'make test: everything passed'

.PHONY: newer
newer: go $(NEWER) ## the tests of images and pods with containerd 2.x (as root)
	FAIRLEAD_TEST_CONTAINERD=2 PATH="$(CURDIR)/build/containerd2:$$PATH" go test -count=1 -timeout 15m ./node/cri ./node

.PHONY: quick
quick: go ## the tests that need neither root, nor a kernel feature, nor an API server
	go test $(QUICK)

.PHONY: race
race: export CGO_ENABLED = 1
race: go ## what runs at once, and a lab with traffic, under the race detector (as root, a few minutes)
	@setup/install tests
	CGO_ENABLED=0 $(MAKE) images
	go test -race -count=1 -timeout 8m $(RACE)
	go build -race -o bin/fairlead-race ./cmd/fairlead
	FAIRLEAD_PROGRAM=../../bin/fairlead-race go test -count=1 -timeout 4m ./test/scenario -run TestP104_RollingUpdate
	@echo 'make race: no race was found'

.PHONY: bench
bench: build images ## measure, print tables and write them to docs/benchmarks.md (as root)
	@setup/install bench
	go run ./test/bench -write

.PHONY: conformance-gateway
conformance-gateway: build ## upstream's conformance suite of Gateway API against a lab; the report goes to build/ (as root)
	test/conformance/gateway/run.sh $(RUN)

.PHONY: conformance
conformance: build ## Kubernetes' own conformance tests against a lab, all of them (docs/conformance.md) or GROUP=network, FOCUS='REGEXP' (as root)
	test/conformance/kubernetes/run.sh

.PHONY: chaos
chaos: build images ## kill, cut off, starve and damage a lab under load, at length; docs/reliability.md (as root)
	@setup/install tests
	go test -count=1 -timeout 90m -v ./test/chaos -args -rounds 200 -write

.PHONY: lint
lint: go ## gofmt, go vet, staticcheck: what to pass before a commit, together with quick
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	[ -z "$$unformatted" ] || { echo "not formatted, run gofmt -w on:" $$unformatted; exit 1; }
	go vet ./...
	go tool staticcheck ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build

.PHONY: go
go:
	@setup/go
