#!/usr/bin/env bash
# The operator on the cluster that cluster.sh brought up: its image, its chart, and examples/cluster until the first
# request is answered over HTTPS. install.sh IMAGE.tar; prints how to go on. It may be run again.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$HERE/../..
STATE=${SCIM_CLUSTER:-/var/tmp/scim-operator-cluster}
BIN=$("$HERE/build.sh" path)
export KUBECONFIG=$STATE/pki/admin.kubeconfig no_proxy='*'
STARTED=${EPOCHREALTIME//[!0-9]/}

kube() { "$BIN/kubectl" --namespace identity "$@"; }
step() {
    local tenths=$(((${EPOCHREALTIME//[!0-9]/} - STARTED) / 100000))
    echo "install: $((tenths / 10)).$((tenths % 10)) s  $1"
}
fail() {
    echo "install: $1" >&2
    "$BIN/kubectl" --namespace scim-operator logs deployment/scim-operator --tail 20 >&2 || true
    kube get scimep,scimt,all,certificate,events >&2 || true
    exit 1
}

"$HERE/cluster.sh" image "$1" >/dev/null
step "image imported"
# So that the authority is there by the time that the endpoint asks it.
kube apply --filename "$ROOT/examples/cluster/namespace.yaml" --filename "$ROOT/examples/cluster/issuer.yaml" >/dev/null
"$BIN/helm" upgrade --install scim-operator "$ROOT/charts/scim-operator" --namespace scim-operator --create-namespace \
    --set image.registry=localhost,image.repository=scim-operator,image.pullPolicy=Never --wait --timeout 2m >/dev/null \
    || fail "the chart is not installed"
step "operator ready"
kube apply --kustomize "$ROOT/examples/cluster" >/dev/null
step "example applied"
kube wait --for=condition=Ready scimendpoint/main scimtenant/acme --timeout=2m >/dev/null || fail "the example is not Ready"
step "endpoint and tenant Ready"

address=$(kube get nodes --output 'jsonpath={.items[0].status.addresses[0].address}')
url=$(kube get scimtenant acme --output 'jsonpath={.status.url}')
host=${url#https://} host=${host%%/*}
secret=$(kube get scimtenant acme --output 'jsonpath={.status.secretName}')
ca=$STATE/etc/scim-ca.crt
kube get secret main-scim-tls --output 'jsonpath={.data.ca\.crt}' | base64 -d >"$ca"
token=$(kube get secret "$secret" --output 'jsonpath={.data.token}' | base64 -d)
curl --silent --show-error --fail --output /dev/null --max-time 10 --cacert "$ca" --resolve "$host:443:$address" \
    --header "Authorization: Bearer $token" "$url/Users" || fail "$url does not answer"
step "answers over HTTPS"

cat <<TEXT

The tenant identity/acme is served at $url:

  export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH
  kubectl get scimep,scimt --all-namespaces

  base=$url
  token=\$(kubectl --namespace identity get secret $secret --output 'jsonpath={.data.token}' | base64 -d)
  scim() { curl -sS --cacert $ca --resolve $host:443:$address -H "Authorization: Bearer \$token" -H 'Content-Type: application/scim+json' "\$@"; echo; }
  scim \$base/Users
TEXT
