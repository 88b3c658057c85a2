"""A day in the life of an identity provider, told with scim2-client.

Usage: session.py BASE_URL, with the bearer token in SCIM_TOKEN. The client validates every answer against
the schemas that the server itself publishes, so a wrong type, status or content type ends the session.
"""

import os
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Error, PatchOp, PatchOperation, SCIMException, SearchRequest

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
BULK_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


def expect(condition: bool, what: str, seen: object) -> None:
    if not condition:
        raise SystemExit(f"FAILED {what}: {seen!r}")
    print(f"ok {what}")


def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['SCIM_TOKEN']}"}
    with Client(base_url=sys.argv[1], headers=headers, trust_env=False, timeout=60) as http:
        client = SyncSCIMClient(http)
        client.discover()
        User = client.get_resource_model("User")
        Group = client.get_resource_model("Group")

        config = client.provider.config
        expect(config.patch.supported and config.bulk.supported, "discovery says what is supported", config)

        barbara = client.create(
            User(user_name="session.barbara", display_name="Barbara", emails=[{"value": "b@example.com", "type": "work"}])
        )
        expect(barbara.id is not None and barbara.meta.version is not None, "create a user", barbara)

        again = client.query(User, barbara.id)
        expect(again.user_name == "session.barbara" and again.meta.version == barbara.meta.version, "read it", again)

        found = client.query(User, query_parameters={"filter": 'userName eq "SESSION.barbara"'})
        expect(found.total_results == 1 and found.resources[0].id == barbara.id, "find it in any case", found)

        try:
            duplicate = client.create(User(user_name="Session.Barbara"))
        except SCIMException as error:
            duplicate = error
        status = getattr(duplicate, "status", None)
        expect(status == 409 and getattr(duplicate, "scim_type", "") == "uniqueness", "no second one", duplicate)

        barbara.display_name = "Barbara Jensen"
        replaced = client.replace(barbara)
        expect(replaced.display_name == "Barbara Jensen", "replace it", replaced)
        expect(replaced.meta.version != again.meta.version, "its version moved", replaced)

        change = PatchOp[User](operations=[PatchOperation(op="replace", path="title", value="Tour guide")])
        client.modify(User, barbara.id, change)
        patched = client.query(User, barbara.id)
        expect(patched.title == "Tour guide", "patch it", patched)

        members = [{"value": barbara.id}]
        guides = client.create(Group(display_name="Tour guides", members=members))
        expect([member.value for member in guides.members] == [barbara.id], "create a group", guides)
        member = client.query(User, barbara.id)
        expect([group.value for group in member.groups] == [guides.id], "the user knows its group", member)

        hits = client.search(SearchRequest(filter='displayName sw "Tour" or userName eq "session.barbara"'))
        expect({hit.id for hit in hits.resources} == {barbara.id, guides.id}, "search every type", hits)

        answer = client.bulk(
            {
                "schemas": [BULK_SCHEMA],
                "failOnErrors": 1,
                "Operations": [
                    {
                        "method": "POST",
                        "path": "/Users",
                        "bulkId": "alice",
                        "data": {"schemas": [USER_SCHEMA], "userName": "session.alice"},
                    },
                    {
                        "method": "POST",
                        "path": "/Groups",
                        "bulkId": "bulk-group",
                        "data": {
                            "schemas": [GROUP_SCHEMA],
                            "displayName": "Bulk group",
                            "members": [{"type": "User", "value": "bulkId:alice"}],
                        },
                    },
                ],
            }
        )
        expect(not isinstance(answer, Error), "bulk", answer)
        locations = [str(operation.location) for operation in answer.operations]
        alice, bulk_group = (location.rsplit("/", 1)[-1] for location in locations)
        stored = client.query(Group, bulk_group)
        expect([member.value for member in stored.members] == [alice], "bulkId became the id", stored)

        for model, identifier in [(Group, guides.id), (Group, bulk_group), (User, barbara.id), (User, alice)]:
            client.delete(model, identifier)
        gone = client.query(User, barbara.id, raise_scim_errors=False)
        expect(isinstance(gone, Error) and gone.status == 404, "delete everything", gone)


if __name__ == "__main__":
    main()
