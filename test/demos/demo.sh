#!/bin/sh
# The demonstration behind `make demo`: what a person would type after installing Fairlead, each step checked. It leaves
# the cluster running. Any step that does not hold ends it with a message and a non-zero exit.
set -eu
cd "$(dirname "$0")/../.."
fairlead=bin/fairlead

say()  { printf '\n\033[1m# %s\033[0m\n' "$*"; }
fail() { printf '\nThe demonstration FAILED: %s\nLook at: %s status; %s kubectl get pods -A; /var/lib/fairlead/server.log\n' "$*" "$fairlead" "$fairlead" >&2; exit 1; }
show() { printf '$ kubectl %s\n' "$*"; "$fairlead" kubectl "$@" || fail "kubectl $*"; }
k()    { "$fairlead" kubectl "$@"; }

# addresses NAMESPACE SERVICE: the addresses in the Service's Endpoints, one a line, sorted.
addresses() { k -n "$1" get endpoints "$2" -o jsonpath='{range .subsets[*].addresses[*]}{.ip}{"\n"}{end}' 2>/dev/null | sort; }
# pods NAMESPACE: the addresses of its running pods, sorted.
pods() { k -n "$1" get pods -l app=nginx -o jsonpath='{range .items[?(@.status.phase=="Running")]}{.metadata.deletionTimestamp}{" "}{.status.podIP}{"\n"}{end}' | awk 'NF==1{print $1}' | sort; }
# endpoints NAMESPACE SERVICE N: wait until Endpoints hold N addresses, exactly those of the pods.
endpoints() {
	for _ in $(seq 150); do
		have=$(addresses "$1" "$2")
		[ "$(echo "$have" | grep -c .)" = "$3" ] && [ "$have" = "$(pods "$1")" ] && return 0
		sleep 0.2
	done
	fail "Endpoints $1/$2 hold [$(echo $have)], not the $3 pods [$(pods "$1" | tr '\n' ' ')]"
}
# requests URL MIN: ten requests, all answered, by at least MIN different pods.
requests() {
	: > "$answers"
	for _ in $(seq 10); do curl -fsS --max-time 3 "$1" >> "$answers" || fail "no answer from $1"; done
	sort "$answers" | uniq -c
	[ "$(sort -u "$answers" | wc -l)" -ge "$2" ] || fail "ten requests to $1 reached fewer than $2 pods"
}
answers=$(mktemp)
trap 'rm -f "$answers"' EXIT

if "$fairlead" status >/dev/null 2>&1; then
	say "A cluster is running already; the demonstration uses it"
else
	say "Start the cluster: this host is control plane and node"
	"$fairlead" up
fi
"$fairlead" image import build/images/*.tar

say "A Deployment of two nginx pods and a Service: an Endpoints object of the same name appears by itself"
k create namespace seed-000 --dry-run=client -o yaml | k apply -f - >/dev/null
show -n seed-000 apply -f test/demos/manifests/nginx-000.yaml
show -n seed-000 rollout status deployment/nginx --timeout=60s
endpoints seed-000 nginx-svc 2
show -n seed-000 get svc,endpoints
show -n seed-000 get pod -owide

say "A Deployment of three with a named Service port, in the default namespace"
show apply -f test/demos/manifests/nginx-001.yaml
show scale deployment/deployment-nginx --replicas=3 # what an earlier run may have changed
show rollout status deployment/deployment-nginx --timeout=60s
endpoints default nginx-svc-clusterip 3
show get po -o wide
show describe svc nginx-svc-clusterip

say "Ten requests to the ClusterIP are answered by different pods"
ip=$(k get svc nginx-svc-clusterip -o jsonpath='{.spec.clusterIP}')
printf '$ curl http://%s/   (ten times)\n' "$ip"
requests "http://$ip/" 2

say "Delete all three pods in one command: new pods, new addresses, and Endpoints follow"
before=$(addresses default nginx-svc-clusterip)
show delete po $(k get po -l app=nginx -o jsonpath='{.items[*].metadata.name}')
endpoints default nginx-svc-clusterip 3
[ "$before" != "$(addresses default nginx-svc-clusterip)" ] || fail "the addresses did not change"
show get po -o wide
show get endpoints
requests "http://$ip/" 2

say "Scale down to one and up to five"
show scale deployment deployment-nginx --replicas=1
endpoints default nginx-svc-clusterip 1
show get endpoints nginx-svc-clusterip
requests "http://$ip/" 1
show scale deployment deployment-nginx --replicas=5
endpoints default nginx-svc-clusterip 5
show get endpoints nginx-svc-clusterip
requests "http://$ip/" 2

say "Everything holds, and the cluster is running. Type next:"
cat <<END
  $fairlead status
  $fairlead kubectl get all -A
  $fairlead kubectl expose deployment deployment-nginx --type=NodePort --port=80 --name=web && $fairlead kubectl get svc web

To remove it all, without a trace:
  $fairlead down
END
