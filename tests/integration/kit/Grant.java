import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What the partner kit's README has operators do: a user, its topics, and the start of its groups. */
final class Grant {

    public static void main(String[] args) throws Exception {
        String user = args[1];
        List<AclBinding> rules = new ArrayList<>();
        for (String topic : args[3].split(",")) {
            rules.add(rule(user, ResourceType.TOPIC, topic, PatternType.LITERAL, AclOperation.WRITE));
            rules.add(rule(user, ResourceType.TOPIC, topic, PatternType.LITERAL, AclOperation.DESCRIBE));
        }
        for (String topic : args[4].split(",")) {
            rules.add(rule(user, ResourceType.TOPIC, topic, PatternType.LITERAL, AclOperation.READ));
            rules.add(rule(user, ResourceType.TOPIC, topic, PatternType.LITERAL, AclOperation.DESCRIBE));
        }
        rules.add(rule(user, ResourceType.GROUP, user + ".", PatternType.PREFIXED, AclOperation.READ));
        ScramCredentialInfo scram = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.alterUserScramCredentials(
                    List.of(new UserScramCredentialUpsertion(user, scram, args[2]))).all().get();
            admin.createAcls(rules).all().get();
        }
    }

    private static AclBinding rule(
            String user, ResourceType kind, String name, PatternType pattern, AclOperation operation) {
        return new AclBinding(
                new ResourcePattern(kind, name, pattern),
                new AccessControlEntry("User:" + user, "*", operation, AclPermissionType.ALLOW));
    }

    private Grant() {}
}
