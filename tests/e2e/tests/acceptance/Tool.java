// What the tests cannot do with librdkafka: records with timestamp 0, ACLs, passwords, and settings of running brokers.
// Run as a single source file.
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.tools.AclCommand;

public class Tool {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[1]);
        switch (arguments[0]) {
            case "zero" -> zero(properties, arguments);
            case "acl" -> acl(properties, arguments);
            case "unacl" -> unacl(properties, arguments);
            case "acls" -> acls(properties);
            case "password" -> password(properties, arguments);
            case "broker" -> broker(properties, arguments);
            case "topic" -> topic(properties, arguments);
            case "kafka-acls" -> commands(arguments);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    /** TOPIC...: one record with timestamp 0 and key "zero" to partition 0 of each. */
    private static void zero(Properties properties, String[] arguments) throws Exception {
        properties.put("acks", "all");
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes)) {
            for (int i = 2; i < arguments.length; i++) {
                producer.send(new ProducerRecord<>(arguments[i], 0, 0L, "zero".getBytes(), "0".getBytes())).get();
            }
        }
    }

    /** USER,TYPE,NAME,PATTERN,OPERATION[,DENY]...: one ACL each, which allows if it does not deny. */
    private static List<AclBinding> bindings(String[] arguments) {
        List<AclBinding> bindings = new ArrayList<>();
        for (int i = 2; i < arguments.length; i++) {
            String[] part = arguments[i].split(",");
            ResourcePattern pattern =
                new ResourcePattern(ResourceType.valueOf(part[1]), part[2], PatternType.valueOf(part[3]));
            AclPermissionType permission = part.length > 5 ? AclPermissionType.DENY : AclPermissionType.ALLOW;
            AccessControlEntry entry =
                new AccessControlEntry("User:" + part[0], "*", AclOperation.valueOf(part[4]), permission);
            bindings.add(new AclBinding(pattern, entry));
        }
        return bindings;
    }

    private static void acl(Properties properties, String[] arguments) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.createAcls(bindings(arguments)).all().get();
        }
    }

    /** Prints all ACLs, one a line. */
    private static void acls(Properties properties) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.describeAcls(AclBindingFilter.ANY).values().get().stream().map(AclBinding::toString).sorted()
                .forEach(System.out::println);
        }
    }

    /** COMMAND...: lines of kafka-acls.sh, each by the class that it starts. Ends with 1 at the first that fails. */
    private static void commands(String[] arguments) {
        for (int i = 2; i < arguments.length; i++) {
            List<String> words = new ArrayList<>(List.of(arguments[i].split(" ")));
            AclCommand.main(words.subList(1, words.size()).toArray(new String[0]));
        }
    }

    private static void unacl(Properties properties, String[] arguments) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.deleteAcls(bindings(arguments).stream().map(AclBinding::toFilter).toList()).all().get();
        }
    }
    /** USER PASSWORD: sets the password for SCRAM-SHA-512. */
    private static void password(Properties properties, String[] arguments) throws Exception {
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
        try (Admin admin = Admin.create(properties)) {
            admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(arguments[2], info, arguments[3])))
                .all().get();
        }
    }

    /** TOPIC,SETTING=VALUE...: changes settings of topics, and deletes those without a value. */
    private static void topic(Properties properties, String[] arguments) throws Exception {
        Map<ConfigResource, java.util.Collection<AlterConfigOp>> changes = new java.util.HashMap<>();
        for (int i = 2; i < arguments.length; i++) {
            String[] part = arguments[i].split(",", 2);
            String[] setting = part[1].split("=", 2);
            AlterConfigOp.OpType type = setting[1].isEmpty() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET;
            changes.computeIfAbsent(new ConfigResource(ConfigResource.Type.TOPIC, part[0]), of -> new ArrayList<>())
                .add(new AlterConfigOp(new ConfigEntry(setting[0], setting[1]), type));
        }
        try (Admin admin = Admin.create(properties)) {
            admin.incrementalAlterConfigs(changes).all().get();
        }
    }

    /** NODE SETTING=VALUE...: changes settings of a broker while it runs. */
    private static void broker(Properties properties, String[] arguments) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        for (int i = 3; i < arguments.length; i++) {
            String[] part = arguments[i].split("=", 2);
            changes.add(new AlterConfigOp(new ConfigEntry(part[0], part[1]), AlterConfigOp.OpType.SET));
        }
        ConfigResource node = new ConfigResource(ConfigResource.Type.BROKER, arguments[2]);
        try (Admin admin = Admin.create(properties)) {
            admin.incrementalAlterConfigs(Map.of(node, changes)).all().get();
        }
    }
}
