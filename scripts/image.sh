#!/usr/bin/env bash
# The container image from the release binary, without a container engine: image.sh TAR [BINARY]
# The result is an OCI layout: `docker load`, `podman load`, `skopeo copy oci-archive:...` and containerd take it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
image=$1 binary=${2:-$target/release/scim-operator}
most=$((40 * 1024 * 1024)) # bytes: what somebody in a hurry waits for

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
scripts/rootfs.sh "$binary" "$root"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
python3 scripts/image.py --name "localhost/scim-operator:$version" --containerfile Containerfile "$root" "$image"
size=$(stat -c %s "$image")
((size <= most)) || { echo "image: $image has $size bytes, more than $most" >&2; exit 1; }
echo "$image: localhost/scim-operator:$version, $((size / 1024 / 1024)) MiB"
