#!/usr/bin/env bash
# Runs every ```sh block of a page of docs/ as it stands, from top to bottom, on the cluster that is up, in one shell,
# and stops at the first command that fails: doc.sh PAGE. It runs in a folder with copies of the repository's folders
# that a page names.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
page=$(realpath "$1")
export KUBECONFIG=${SCIM_CLUSTER:-/var/tmp/scim-operator-cluster}/pki/admin.kubeconfig
PATH=$("$HERE/build.sh" path):$PATH

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cp -r "$HERE"/../../{charts,crds,examples} .
awk '/^```sh$/ {block = 1; next} /^```$/ {block = 0} block' "$page" >commands
# -v, not -x: what is printed is what the page says.
bash -euo pipefail -v commands 2>&1 || { echo "doc: $1: the last command above failed" >&2; exit 1; }
echo "doc: $1: every command did what it says"
