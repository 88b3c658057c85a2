#!/usr/bin/env bash
# The container image on the cluster: the quickstart in a restricted pod, reached through its Service and, over TLS,
# through an Ingress; its data outlives the pod. serve.sh IMAGE.tar, after `make cluster`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${SCIM_CLUSTER:-/var/tmp/scim-operator-cluster}
export KUBECONFIG=$STATE/pki/admin.kubeconfig no_proxy='*'
kubectl=$("$HERE/build.sh" path)/kubectl
started=$SECONDS

kube() { "$kubectl" --namespace identity "$@"; }
fail() {
    echo "serve: $1" >&2
    kube get all,pvc,certificate,events >&2 || true
    kube logs deployment/scim >&2 || true
    exit 1
}
eventually() {
    local deadline=$((SECONDS + 90)) what=$1
    shift
    until "$@" >/dev/null 2>&1; do ((SECONDS < deadline)) || fail "$what"; sleep 0.2; done
    echo "serve: $((SECONDS - started)) s  $what"
}
scim() { curl --fail --silent --show-error --max-time 5 -H 'Authorization: Bearer cluster-token-0123456789abcdef0123456789abcdef' \
    -H 'Content-Type: application/scim+json' "$@"; }

"$HERE/cluster.sh" image "$1" >/dev/null
kube apply --filename "$HERE/serve.yaml" >/dev/null
kube create configmap quickstart --from-file "$HERE/../../examples/quickstart" >/dev/null
eventually "the pod is ready" kube rollout status deployment/scim --timeout=60s

users=http://$(kube get service scim --output 'jsonpath={.spec.clusterIP}')/acme/scim/v2/Users
eventually "the Service answers" scim "$users"
user='{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "in-a-pod"}'
scim "$users" --data "$user" >/dev/null || fail "cannot create a user"

eventually "the certificate is issued" kube wait --for=condition=Ready certificate/scim-tls --timeout=60s
kube get secret scim-tls --output 'jsonpath={.data.ca\.crt}' | base64 -d >"$STATE/etc/scim-ca.crt"
address=$(kube get nodes --output 'jsonpath={.items[0].status.addresses[0].address}')
over_tls=(--cacert "$STATE/etc/scim-ca.crt" --resolve "scim.example.com:443:$address" https://scim.example.com/acme/scim/v2/Users)
eventually "the Ingress answers over TLS" scim "${over_tls[@]}"

kube delete pod --selector app=scim --wait >/dev/null
eventually "another pod is ready" kube rollout status deployment/scim --timeout=60s
found() { scim "${over_tls[@]}" | grep -q '"userName":"in-a-pod"'; }
eventually "it has the user" found
"$kubectl" delete namespace identity >/dev/null
echo "serve: ok"
