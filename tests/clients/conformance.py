"""Holds a server to scim2-tester: every check must be SUCCESS.

Usage: conformance.py BASE_URL, with the bearer token in SCIM_TOKEN. Prints a table, exits 1 when any
check has another result. A skipped check counts as a failure: it proves nothing.
"""

import os
import sys
from collections import Counter

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

# What the checks must have covered, so that an upgrade that stops discovering a type does not pass unseen.
# SCIM_RESOURCE_TYPES names those of a tenant with resource types of its own.
EXPECTED_RESOURCE_TYPES = {"User", "Group", *os.environ.get("SCIM_RESOURCE_TYPES", "").split()}
EXPECTED_CHECKS = {
    "service_provider_config_endpoint",
    "query_all_resource_types",
    "query_all_schemas",
    "random_url",
    "object_creation",
    "object_query",
    "object_query_without_id",
    "object_query_with_attributes",
    "object_list_with_attributes",
    "search_with_attributes",
    "object_replacement",
    "object_deletion",
    "check_add_attribute",
    "check_remove_attribute",
    "check_replace_attribute",
}


def main() -> int:
    base_url = sys.argv[1]
    headers = {"Authorization": f"Bearer {os.environ['SCIM_TOKEN']}"}
    with Client(base_url=base_url, headers=headers, trust_env=False, timeout=60) as http:
        results = check_server(SyncSCIMClient(http))

    table: dict[tuple[str, str], Counter[str]] = {}
    for result in results:
        key = (result.resource_type or "-", result.title or "?")
        table.setdefault(key, Counter())[result.status.name] += 1
    for (resource_type, title), counts in table.items():
        cells = " ".join(f"{name}={count}" for name, count in counts.items())
        print(f"{resource_type:8} {title:42} {cells}")

    failures = [result for result in results if result.status is not Status.SUCCESS]
    for result in failures:
        print(f"\n{result.status.name} {result.resource_type or ''} {result.title}: {result.reason}\n  {result.data}")

    missing = EXPECTED_CHECKS - {result.title for result in results}
    missing |= EXPECTED_RESOURCE_TYPES - {result.resource_type for result in results}
    if missing:
        print(f"\nnot checked at all: {', '.join(sorted(missing))}")

    print(f"\n{base_url}: {len(results) - len(failures)} of {len(results)} checks passed")
    return 1 if failures or missing else 0


if __name__ == "__main__":
    sys.exit(main())
