#!/bin/sh
# Starts a lab with a pool of addresses, runs upstream's conformance suite of Gateway API against it, and takes the lab down. The report
# is build/conformance-gateway.yaml. Arguments go to the suite: -run-test NAME runs one test, -skip-tests A,B leaves some out.
set -eu
top=$(cd "$(dirname "$0")/../../.." && pwd)
cd "$top"
name=gwsuite port=${PORT:-7443} dir=$(mktemp -d /var/lib/fairlead-gwsuite.XXXXXX)
here=$(mktemp -d)
down() { HOME=$here bin/fairlead down --name $name --data-dir "$dir" >/dev/null; rm -rf "$dir" "$here"; }
trap down EXIT
trap 'exit 130' INT TERM
mkdir -p build
go run ./test/bake -conformance -o build/conformance
CGO_ENABLED=0 go test -C test/conformance/gateway -c -o "$top/build/conformance/suite" .
HOME=$here bin/fairlead up --name $name --nodes 2 --port "$port" --data-dir "$dir" --lb-pool auto --ingress=false
HOME=$here bin/fairlead image import --name $name --data-dir "$dir" build/conformance/*.tar
kube="bin/fairlead kubectl --kubeconfig $dir/admin.kubeconfig"
until $kube get gatewayclass fairlead >/dev/null 2>&1; do sleep 0.2; done
# The last address of the pool is the one to ask for; one from a range for documentation cannot be had.
usable=$($kube get addresspools default -o 'jsonpath={.spec.addresses[0]}')
KUBECONFIG=$dir/admin.kubeconfig build/conformance/suite -test.timeout 30m -gateway-class fairlead \
	-conformance-profiles GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP \
	-usable-address "${usable#*-}" -unusable-address 192.0.2.1 \
	-organization fairlead -project fairlead -url https://fairlead.dev -contact https://fairlead.dev \
	-version "$(bin/fairlead version)" \
	-report-output "$top/build/conformance-gateway.yaml" "$@"
