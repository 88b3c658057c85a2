#!/usr/bin/env bash
# Does what the README's first page does, with the release binary: serve examples/quickstart on free ports with
# fresh data, run the printed curl line, create and find a user, end cleanly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=${CARGO_TARGET_DIR:-target}/release/scim-operator
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
fail() { echo "quickstart: $1" >&2; cat "$work/log" >&2; exit 1; }

listen=127.0.0.1:$(free_port) admin=127.0.0.1:$(free_port)
"$binary" validate examples/quickstart
"$binary" serve --manifests examples/quickstart --data "$work/data" --listen "$listen" --admin "$admin" \
    >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do
    curl -fsS --noproxy '*' "http://$admin/readyz" >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || fail "the server ended"
    sleep 0.05
done
curl -fsS --noproxy '*' "http://$admin/readyz" >/dev/null || fail "not ready"

# The line that start-up prints must work when it is pasted, and the token's file must be private.
line=$(grep -o 'curl .*' "$work/log" | head -1) || fail "no curl line was printed"
line=${line%\"\}}
export no_proxy='*'
(cd "$work" && bash -c "${line//\\\"/\"}") >"$work/answer" 2>>"$work/log" || fail "the printed line fails: $line"
secret=$(find "$work/data" -name '*.yaml' | head -1)
[[ $(stat -c %a "$secret" 2>/dev/null || stat -f %Lp "$secret") == 600 ]] || fail "$secret is not 0600"

token=$(sed -n 's/^ *token: *//p' "$secret" | head -1 | tr -d \"\')
base=$(grep -o "http://$listen/[a-z0-9-]*/scim/v2" "$work/log" | head -1)
scim() { curl -fsS -H "Authorization: Bearer $token" -H 'Content-Type: application/scim+json' "$@"; }
scim "$base/Users" -d '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"quick"}' >/dev/null \
    || fail "cannot create a user"
scim -G "$base/Users" --data-urlencode 'filter=userName eq "QUICK"' | grep -q '"totalResults":1' || fail "cannot find it"

kill -TERM "$server"
wait "$server" || fail "SIGTERM ended it with status $?"
echo "quickstart: ok"
