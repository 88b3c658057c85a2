#!/usr/bin/env bash
# The parts of Kubernetes that the tests run, built from tests/cluster/kube into the cache, once for each content of
# that folder and each version of Go.
#
#   build.sh         build what is missing, print the folder of the binaries
#   build.sh path    only print the folder; fail when it is not built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/kube"

fail() { echo "tests/cluster/build.sh: $1" >&2; exit 1; }

command -v go >/dev/null \
    || fail "there is no Go, and the Kubernetes of the tests is built with it: install Go 1.26 or newer, https://go.dev/doc/install"
# go.mod names the Go it needs; `go` fetches that one when it is older itself, so this is the version that compiles.
version=$(go env GOVERSION)
key=$({ echo "$version"; cat go.mod go.sum ./*.go pause/*.go ../build.sh; } | sha256sum | cut -c1-16)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/scim-operator/kube-$key

# A module's own files, such as definitions of custom resources: they are as pinned as its code.
files_of() { go list -m -f '{{.Dir}}' "$1"; }

if [[ ! -e $folder/.ready ]]; then
    [[ ${1:-} != path ]] || fail "the Kubernetes of the tests is not built: run \`make tools\` (about 6 minutes, once)"
    echo "Building the Kubernetes of the tests into $folder: about 6 minutes when nothing is cached" >&2
    rm -rf "$folder"
    mkdir -p "$folder/crds"
    # No C, so that the binaries run anywhere, also in an image with nothing else. Kubernetes learns its version only at
    # link time; without it a node is refused as one of an unknown version.
    kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    build() { CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "$1" -o "$folder/$2" "$3"; }
    build "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" kube .
    build "-s -w" pause ./pause
    for name in $("$folder/kube"); do ln -s kube "$folder/$name"; done
    cp "$(files_of github.com/cert-manager/cert-manager)"/deploy/crds/*.yaml \
        "$(files_of sigs.k8s.io/gateway-api)"/config/crd/standard/*.yaml "$folder/crds"
    chmod -R u+w "$folder/crds"
    touch "$folder/.ready"
fi
echo "$folder"
