import de.captaingoldfish.scim.sdk.client.ScimClientConfig;
import de.captaingoldfish.scim.sdk.client.ScimRequestBuilder;
import de.captaingoldfish.scim.sdk.client.response.ServerResponse;
import de.captaingoldfish.scim.sdk.common.constants.EndpointPaths;
import de.captaingoldfish.scim.sdk.common.constants.enums.Comparator;
import de.captaingoldfish.scim.sdk.common.constants.enums.HttpMethod;
import de.captaingoldfish.scim.sdk.common.constants.enums.PatchOp;
import de.captaingoldfish.scim.sdk.common.resources.Group;
import de.captaingoldfish.scim.sdk.common.resources.ServiceProvider;
import de.captaingoldfish.scim.sdk.common.resources.User;
import de.captaingoldfish.scim.sdk.common.resources.complex.Name;
import de.captaingoldfish.scim.sdk.common.resources.multicomplex.Email;
import de.captaingoldfish.scim.sdk.common.resources.multicomplex.Member;
import de.captaingoldfish.scim.sdk.common.response.BulkResponse;
import de.captaingoldfish.scim.sdk.common.response.ListResponse;
import java.util.List;
import java.util.Map;

/**
 * A session with SCIM SDK (Captain Goldfish), as an application would hold it.
 *
 * <p>Usage: {@code java -cp 'JARS/*' Session.java BASE_URL}, with the bearer token in SCIM_TOKEN.
 */
public class Session {
    public static void main(String[] arguments) {
        ScimClientConfig config = ScimClientConfig.builder()
            .connectTimeout(30)
            .requestTimeout(30)
            .socketTimeout(30)
            .httpHeaders(Map.of("Authorization", "Bearer " + System.getenv("SCIM_TOKEN")))
            .build();
        try (ScimRequestBuilder client = new ScimRequestBuilder(arguments[0], config)) {
            session(client);
        }
    }

    private static void session(ScimRequestBuilder client) {
        ServiceProvider provider = client.loadServiceProviderConfiguration();
        expect(provider.getPatchConfig().isSupported() && provider.getBulkConfig().isSupported(),
               "discovery says what is supported", provider);

        User barbara = User.builder()
            .userName("goldfish.barbara")
            .name(Name.builder().givenName("Barbara").familyName("Jensen").build())
            .emails(List.of(Email.builder().value("b@example.com").type("work").primary(true).build()))
            .build();
        ServerResponse<User> created =
            client.create(User.class, EndpointPaths.USERS).setResource(barbara).sendRequest();
        expect(created.isSuccess() && created.getHttpStatus() == 201, "create a user", created.getResponseBody());
        String id = created.getResource().getId().orElseThrow();

        ServerResponse<User> duplicate =
            client.create(User.class, EndpointPaths.USERS).setResource(barbara).sendRequest();
        expect(!duplicate.isSuccess() && duplicate.getErrorResponse().getStatus() == 409
                   && duplicate.getErrorResponse().getScimType().orElse("").equals("uniqueness"),
               "no second one", duplicate.getResponseBody());

        ServerResponse<User> read = client.get(User.class, EndpointPaths.USERS, id).sendRequest();
        expect(read.isSuccess() && read.getResource().getUserName().orElseThrow().equals("goldfish.barbara"),
               "read it", read.getResponseBody());

        ServerResponse<ListResponse<User>> found = client.list(User.class, EndpointPaths.USERS)
            .filter("userName", Comparator.EQ, "GOLDFISH.barbara")
            .and("emails.value", Comparator.SW, "b@")
            .build()
            .get()
            .sendRequest();
        expect(found.isSuccess() && found.getResource().getTotalResults() == 1
                   && found.getResource().getListedResources().get(0).getId().orElseThrow().equals(id),
               "find it in any case", found.getResponseBody());

        ServerResponse<ListResponse<User>> searched = client.list(User.class, EndpointPaths.USERS)
            .filter("name.familyName eq \"Jensen\"")
            .post()
            .sendRequest();
        expect(searched.isSuccess() && searched.getResource().getTotalResults() == 1, "search by POST",
               searched.getResponseBody());
        ServerResponse<ListResponse<User>> names =
            client.list(User.class, EndpointPaths.USERS).attributes("userName").get().sendRequest();
        expect(names.isSuccess() && names.getResource().getListedResources().get(0).getName().isEmpty(),
               "list shows what was asked for", names.getResponseBody());

        ServerResponse<User> patched = client.patch(User.class, EndpointPaths.USERS, id)
            .addOperation().path("title").op(PatchOp.REPLACE).value("Tour guide").next()
            .path("emails[type eq \"work\"].value").op(PatchOp.REPLACE).value("barbara@example.com").build()
            .sendRequest();
        expect(patched.isSuccess() && patched.getResource().getTitle().orElseThrow().equals("Tour guide")
                   && patched.getResource().getEmails().get(0).getValue().orElseThrow().equals("barbara@example.com"),
               "patch it", patched.getResponseBody());

        User replacement = read.getResource();
        replacement.setDisplayName("Babs");
        ServerResponse<User> stale = client.update(User.class, EndpointPaths.USERS, id)
            .setResource(replacement)
            .setETagForIfMatch(read.getResource().getMeta().orElseThrow().getVersion().orElseThrow())
            .sendRequest();
        expect(stale.getHttpStatus() == 412, "no replacing what has changed meanwhile", stale.getResponseBody());
        ServerResponse<User> replaced =
            client.update(User.class, EndpointPaths.USERS, id).setResource(replacement).sendRequest();
        expect(replaced.isSuccess() && replaced.getResource().getDisplayName().orElseThrow().equals("Babs")
                   && replaced.getResource().getTitle().isEmpty(),
               "replace it whole", replaced.getResponseBody());

        Group guides = Group.builder().displayName("Goldfish guides").build();
        ServerResponse<Group> group =
            client.create(Group.class, EndpointPaths.GROUPS).setResource(guides).sendRequest();
        String groupId = group.getResource().getId().orElseThrow();
        // 204 has no body, so no Content-Type either; the SDK expects one of every PATCH unless it is told.
        ServerResponse<Group> joined = client.patch(Group.class, EndpointPaths.GROUPS, groupId)
            .addOperation().path("members").op(PatchOp.ADD)
            .valueNode(Member.builder().value(id).type("User").build()).build()
            .setExpectedResponseHeaders(Map.of())
            .sendRequest();
        expect(joined.isSuccess() && joined.getHttpStatus() == 204, "add a member", joined.getHttpStatus());
        User member = client.get(User.class, EndpointPaths.USERS, id).sendRequest().getResource();
        expect(member.getGroups().size() == 1 && member.getGroups().get(0).getValue().orElseThrow().equals(groupId),
               "the user knows its group", member);
        ServerResponse<Group> left = client.patch(Group.class, EndpointPaths.GROUPS, groupId)
            .addOperation().path("members[value eq \"" + id + "\"]").op(PatchOp.REMOVE).build()
            .setExpectedResponseHeaders(Map.of())
            .sendRequest();
        expect(left.isSuccess(), "remove the member", left.getResponseBody());

        ServerResponse<BulkResponse> bulk = client.bulk()
            .bulkRequestOperation(EndpointPaths.USERS).method(HttpMethod.POST).bulkId("alice")
            .data(User.builder().userName("goldfish.alice").build()).next()
            .bulkRequestOperation(EndpointPaths.GROUPS).method(HttpMethod.POST).bulkId("others")
            .data(Group.builder().displayName("Goldfish others")
                      .members(List.of(Member.builder().value("bulkId:alice").type("User").build())).build())
            .sendRequest();
        expect(bulk.isSuccess() && bulk.getResource().getBulkResponseOperations().stream()
                   .allMatch(operation -> operation.getStatus() == 201),
               "bulk", bulk.getResponseBody());
        String alice = last(bulk.getResource().getBulkResponseOperations().get(0).getLocation().orElseThrow());
        String others = last(bulk.getResource().getBulkResponseOperations().get(1).getLocation().orElseThrow());
        Group stored = client.get(Group.class, EndpointPaths.GROUPS, others).sendRequest().getResource();
        expect(stored.getMembers().get(0).getValue().orElseThrow().equals(alice), "bulkId became the id", stored);

        for (String user : List.of(id, alice)) {
            expect(client.delete(User.class, EndpointPaths.USERS, user).sendRequest().isSuccess(), "delete a user", user);
        }
        for (String each : List.of(groupId, others)) {
            expect(client.delete(Group.class, EndpointPaths.GROUPS, each).sendRequest().isSuccess(), "delete a group", each);
        }
        ServerResponse<User> gone = client.get(User.class, EndpointPaths.USERS, id).sendRequest();
        expect(gone.getHttpStatus() == 404 && gone.getErrorResponse().getDetail().isPresent(), "nothing left",
               gone.getResponseBody());
    }

    private static String last(String url) {
        return url.substring(url.lastIndexOf('/') + 1);
    }

    private static void expect(boolean condition, String what, Object seen) {
        if (!condition) {
            System.err.println("FAILED " + what + ": " + seen);
            System.exit(1);
        }
        System.out.println("ok " + what);
    }
}
