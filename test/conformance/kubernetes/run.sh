#!/bin/sh
# Starts a lab of two nodes, runs tests of Kubernetes' end-to-end suite against it, and takes the lab down. Arguments are regular
# expressions for the names of tests that are to be run, such as '\[sig-auth\]'; without any all [Conformance] tests are. What failed is
# in build/conformance-kubernetes/: the log, and junit.xml.
set -eu
top=$(cd "$(dirname "$0")/../../.." && pwd)
cd "$top"
out=$top/build/conformance-kubernetes
name=k8ssuite port=${PORT:-7543} dir=$(mktemp -d /var/lib/fairlead-k8ssuite.XXXXXX)
here=$(mktemp -d)
down() { HOME=$here bin/fairlead down --name $name --data-dir "$dir" >/dev/null; rm -rf "$dir" "$here"; }
trap down EXIT
trap 'exit 130' INT TERM
mkdir -p "$out"
# Some tests ask the program which version it is of.
version=$(go list -C test/conformance/kubernetes -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.} stamp=k8s.io/component-base/version
CGO_ENABLED=0 go test -C test/conformance/kubernetes -c -o "$out/e2e.test" \
	-ldflags "-X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" .
# shellcheck disable=SC2046 # a name each
go run ./test/bake -suite -o "$out/images" $("$out/e2e.test" -list-images)
HOME=$here bin/fairlead up --name $name --nodes 2 --port "$port" --data-dir "$dir" --ingress=false
HOME=$here bin/fairlead image import --name $name --data-dir "$dir" "$out"/images/*.tar
[ $# -gt 0 ] || set -- '\[Conformance\]'
for focus in "$@"; do
	set -- "$@" "-ginkgo.focus=$focus"
	shift
done
"$out/e2e.test" -kubeconfig "$dir/admin.kubeconfig" -provider local -kubectl-path "$(command -v kubectl)" -report-dir "$out" -num-nodes 2 \
	-ginkgo.v -ginkgo.skip "\[Feature:|\[Flaky\]|\[Alpha\]|\[Beta\]${SKIP:+|$SKIP}" -ginkgo.timeout 3h -test.timeout 0 ${PROCS:+-ginkgo.procs=$PROCS} "$@" >"$out/log" 2>&1 || failed=$?
grep -E '^(Ran |FAIL!|PASS|SUCCESS!)|^  \[FAIL\]|^  \[TIMEDOUT\]' "$out/log" || tail -50 "$out/log"
exit "${failed:-0}"
