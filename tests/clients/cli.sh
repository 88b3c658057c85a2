#!/usr/bin/env bash
# The same server by scim2-cli, as an administrator would at a prompt.
# Usage: cli.sh SCIM BASE_URL, with the bearer token in SCIM_TOKEN. SCIM is the path of the `scim` command.
set -euo pipefail

scim=$1
export SCIM_CLI_URL=$2 SCIM_CLI_HEADERS="Authorization: Bearer $SCIM_TOKEN" NO_PROXY='*'

# The value of a field in a JSON document on stdin: `field id`, `field Resources 0 id`.
field() {
    python3 -c 'import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1:]:
    value = value[int(step) if step.isdigit() else step]
print(value)' "$@"
}

expect() {
    [[ $2 == "$3" ]] || { echo "FAILED $1: expected '$3', got '$2'" >&2; exit 1; }
    echo "ok $1"
}

user=$("$scim" create user --user-name cli.babs --display-name Babs </dev/null)
id=$(field id <<<"$user")
expect "create" "$(field userName <<<"$user")" cli.babs

found=$("$scim" query user --filter 'userName eq "cli.babs"' </dev/null)
expect "query with a filter" "$(field Resources 0 id <<<"$found")" "$id"

"$scim" modify user "$id" replace displayName 'Barbara Jensen' add emails '[{"value": "b@example.com", "type": "work"}]' \
    </dev/null >/dev/null
shown=$("$scim" query user "$id" </dev/null)
expect "modify, one value" "$(field displayName <<<"$shown")" 'Barbara Jensen'
expect "modify, another" "$(field emails 0 value <<<"$shown")" b@example.com

group=$("$scim" create group --display-name 'CLI group' --members "[{\"value\": \"$id\"}]" </dev/null)
expect "create a group" "$(field members 0 value <<<"$group")" "$id"

hits=$("$scim" search --filter 'displayName eq "cli group"' </dev/null)
expect "search" "$(field totalResults <<<"$hits")" 1

bulk=$("$scim" bulk <<E2
{"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
 "Operations": [{"method": "DELETE", "path": "/Groups/$(field id <<<"$group")"},
                {"method": "DELETE", "path": "/Users/$id"}]}
E2
)
expect "bulk, first" "$(field Operations 0 status <<<"$bulk")" 204
expect "bulk, second" "$(field Operations 1 status <<<"$bulk")" 204

left=$("$scim" query user --filter 'userName eq "cli.babs"' </dev/null)
expect "nothing left" "$(field totalResults <<<"$left")" 0
