#!/bin/sh
# Starts a lab of two nodes, runs tests of Kubernetes' end-to-end suite against it, takes the lab down, and reports. In the environment:
#   FOCUS  regular expression for the names of tests; by default all that are [Conformance]
#   GROUP  an interest group, such as network or node: its conformance tests
#   SKIP   regular expression for names of tests that are not to be run
#   PROCS  how many tests run at once (2); those that are [Serial] run alone, after the others
#   PORT   of the lab's API server (7543)
#   DIR    where the lab's data lies (/var/lib): on a disk that is nearly full nodes take no pods, and nothing begins
# Everything that was run is in build/conformance-kubernetes/: logs, junit_*.xml, and report.md, which becomes docs/conformance.md when all
# conformance tests were to be run. It fails when a test fails whose cause is not in causes.tsv.
set -eu
top=$(cd "$(dirname "$0")/../../.." && pwd)
cd "$top"
out=$top/build/conformance-kubernetes here=$top/test/conformance/kubernetes
name=k8ssuite port=${PORT:-7543} dir=$(mktemp -d "${DIR:-/var/lib}/fairlead-k8ssuite.XXXXXX") home=$(mktemp -d)
down() { HOME=$home bin/fairlead down --name $name --data-dir "$dir" >/dev/null; rm -rf "$dir" "$home"; }
trap down EXIT
trap 'exit 130' INT TERM
export CGO_ENABLED=0

mkdir -p "$out"
rm -f "$out"/junit_*.xml "$out"/*.log "$out/report.md"
go test -C "$here" -c -o "$out/e2e.test" .
go build -C "$here" -o "$out/ginkgo" github.com/onsi/ginkgo/v2/ginkgo
# shellcheck disable=SC2046 # a name each
go run ./test/bake -suite -o "$out/images" $("$out/e2e.test" -list-images)
HOME=$home bin/fairlead up --name $name --nodes 2 --port "$port" --data-dir "$dir" --ingress=false
HOME=$home bin/fairlead image import --name $name --data-dir "$dir" "$out"/images/*.tar >/dev/null

focus=${FOCUS:-'\[Conformance\]'}
if [ -n "${GROUP:-}" ]; then focus="\\[sig-$GROUP\\].*$focus"; fi
alone='\[Serial\]|\[Disruptive\]'
# run NAME PROCS FOCUS SKIP: what has failed is in the report.
run() {
	"$out/ginkgo" --procs="$2" --timeout=4h --no-color --silence-skips -v --focus="$3" --skip="\[Feature:|\[Flaky\]|\[Alpha\]|\[Beta\]$4${SKIP:+|$SKIP}" "$out/e2e.test" -- \
		-kubeconfig "$dir/admin.kubeconfig" -provider local -kubectl-path "$(command -v kubectl)" -num-nodes 2 -report-dir "$out" -report-prefix "$1_" >"$out/$1.log" 2>&1 || true
	[ -s "$out/junit_$1_01.xml" ] || { tail -50 "$out/$1.log"; echo "the suite did not come to its end: $out/$1.log" >&2; exit 1; }
}
run together "${PROCS:-2}" "$focus" "|$alone"
run alone 1 "($focus).*($alone)|($alone).*($focus)" ""
version=$(go list -C "$here" -m -f '{{.Version}}' k8s.io/kubernetes)
page=$out/report.md
if [ -z "${FOCUS:-}${GROUP:-}${SKIP:-}" ]; then page=$top/docs/conformance.md; fi
go run ./test/conformance/report -causes "$here/causes.tsv" -version "$version" -o "$page" "$out"/junit_together_01.xml "$out"/junit_alone_01.xml
