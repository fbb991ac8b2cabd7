import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.Resource;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What operators do: users ("USER name password"), each with its rights ("TOPIC LITERAL WRITE name"). */
final class Grant {

    public static void main(String[] args) throws Exception {
        List<AclBinding> rules = new ArrayList<>();
        List<UserScramCredentialAlteration> users = new ArrayList<>();
        ScramCredentialInfo scram = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
        String user = "";
        for (int n = 1; n < args.length; n++) {
            String[] words = args[n].split(" ");
            if (words[0].equals("USER")) {
                user = words[1];
                users.add(new UserScramCredentialUpsertion(user, scram, words[2]));
            } else {
                rules.add(rule(user, words));
            }
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.alterUserScramCredentials(users).all().get();
            admin.createAcls(rules).all().get();
        }
    }

    private static AclBinding rule(String user, String[] right) {
        String name = right.length > 3 ? right[3] : Resource.CLUSTER_NAME;
        return new AclBinding(
                new ResourcePattern(
                        ResourceType.valueOf(right[0]), name, PatternType.valueOf(right[1])),
                new AccessControlEntry(
                        "User:" + user, "*", AclOperation.valueOf(right[2]), AclPermissionType.ALLOW));
    }

    private Grant() {}
}
