import com.unboundid.scim2.client.ScimService;
import com.unboundid.scim2.common.exceptions.PreconditionFailedException;
import com.unboundid.scim2.common.exceptions.ResourceConflictException;
import com.unboundid.scim2.common.exceptions.ResourceNotFoundException;
import com.unboundid.scim2.common.exceptions.ScimException;
import com.unboundid.scim2.common.exceptions.UnauthorizedException;
import com.unboundid.scim2.common.filters.Filter;
import com.unboundid.scim2.common.messages.ListResponse;
import com.unboundid.scim2.common.messages.PatchOperation;
import com.unboundid.scim2.common.types.Email;
import com.unboundid.scim2.common.types.GroupResource;
import com.unboundid.scim2.common.types.Member;
import com.unboundid.scim2.common.types.Name;
import com.unboundid.scim2.common.types.ServiceProviderConfigResource;
import com.unboundid.scim2.common.types.UserResource;
import jakarta.ws.rs.client.Client;
import jakarta.ws.rs.client.ClientBuilder;
import jakarta.ws.rs.client.ClientRequestFilter;
import org.glassfish.jersey.apache.connector.ApacheConnectorProvider;
import org.glassfish.jersey.client.ClientConfig;

/**
 * A session with the UnboundID SCIM 2 SDK (Ping Identity), as an application would hold it.
 *
 * <p>Usage: {@code java -cp 'JARS/*' Session.java BASE_URL}, with the bearer token in SCIM_TOKEN.
 */
public class Session {
    public static void main(String[] arguments) throws ScimException {
        ScimService stranger = service(arguments[0], "not-the-token");
        try {
            stranger.search("Users", null, UserResource.class);
            expect(false, "a wrong token is refused", "it was not");
        } catch (UnauthorizedException error) {
            expect(error.getScimError().getStatus() == 401, "a wrong token is refused", error);
        }
        session(service(arguments[0], System.getenv("SCIM_TOKEN")));
    }

    private static ScimService service(String base, String token) {
        Client client = ClientBuilder.newClient(new ClientConfig().connectorProvider(new ApacheConnectorProvider()));
        client.register((ClientRequestFilter) request ->
            request.getHeaders().putSingle("Authorization", "Bearer " + token));
        return new ScimService(client.target(base));
    }

    private static void session(ScimService scim) throws ScimException {
        ServiceProviderConfigResource provider = scim.getServiceProviderConfig();
        expect(provider.getPatch().isSupported() && provider.getEtag().isSupported(),
               "discovery says what is supported", provider);
        expect(scim.getSchemas().getTotalResults() >= 3 && scim.getResourceTypes().getTotalResults() == 2,
               "schemas and resource types are lists", scim.getSchemas());

        UserResource made = scim.create("Users", new UserResource()
            .setUserName("ping.barbara")
            .setName(new Name().setGivenName("Barbara").setFamilyName("Jensen"))
            .setEmails(new Email().setValue("b@example.com").setType("work").setPrimary(true)));
        expect(made.getId() != null && made.getMeta().getLocation() != null, "create a user", made);
        try {
            scim.create("Users", new UserResource().setUserName("Ping.Barbara"));
            expect(false, "no second one", "it was made");
        } catch (ResourceConflictException error) {
            expect(error.getScimError().getScimType().equals("uniqueness"), "no second one", error);
        }

        UserResource read = scim.retrieve("Users", made.getId(), UserResource.class);
        expect(read.getUserName().equals("ping.barbara"), "read it", read);
        ListResponse<UserResource> found =
            scim.search("Users", Filter.eq("userName", "PING.barbara").toString(), UserResource.class);
        expect(found.getTotalResults() == 1 && found.getResources().get(0).getId().equals(made.getId()),
               "find it in any case", found);
        ListResponse<UserResource> page = scim.searchRequest("Users")
            .filter("userName sw \"ping.\" and emails[type eq \"work\"]")
            .attributes("userName").sort("userName", null).page(1, 10).invokePost(UserResource.class);
        expect(page.getTotalResults() == 1 && page.getResources().get(0).getName() == null,
               "search by POST shows what was asked for", page);

        UserResource patched = scim.modifyRequest("Users", made.getId())
            .addOperation(PatchOperation.replace("title", "Tour guide"))
            .addOperation(PatchOperation.replace("name.familyName", "Hansen"))
            .invoke(UserResource.class);
        expect(patched.getTitle().equals("Tour guide") && patched.getName().getFamilyName().equals("Hansen"),
               "patch it", patched);
        try {
            scim.replaceRequest(read.setDisplayName("Babs")).ifMatch().invoke();
            expect(false, "no replacing what has changed meanwhile", "it was replaced");
        } catch (PreconditionFailedException error) {
            expect(error.getScimError().getStatus() == 412, "no replacing what has changed meanwhile", error);
        }
        UserResource replaced = scim.replaceRequest(patched.setDisplayName("Babs")).ifMatch().invoke();
        expect(replaced.getDisplayName().equals("Babs") && replaced.getTitle().equals("Tour guide"),
               "replace it", replaced);

        GroupResource guides = scim.create("Groups", new GroupResource().setDisplayName("Ping guides")
            .setMembers(new Member().setValue(made.getId())));
        expect(guides.getMembers().get(0).getValue().equals(made.getId()), "create a group", guides);
        UserResource member = scim.retrieve(made);
        expect(member.getGroups().get(0).getValue().equals(guides.getId()), "the user knows its group", member);
        GroupResource emptied = scim.modifyRequest("Groups", guides.getId())
            .addOperation(PatchOperation.remove("members[value eq \"" + made.getId() + "\"]"))
            .attributes("members")
            .invoke(GroupResource.class);
        expect(emptied.getMembers() == null || emptied.getMembers().isEmpty(), "remove the member", emptied);

        scim.delete("Groups", guides.getId());
        scim.delete(made);
        try {
            scim.retrieve("Users", made.getId(), UserResource.class);
            expect(false, "nothing left", "it is there");
        } catch (ResourceNotFoundException error) {
            expect(error.getScimError().getDetail() != null, "nothing left", error);
        }
    }

    private static void expect(boolean condition, String what, Object seen) {
        if (!condition) {
            System.err.println("FAILED " + what + ": " + seen);
            System.exit(1);
        }
        System.out.println("ok " + what);
    }
}
