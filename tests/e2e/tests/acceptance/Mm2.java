// MirrorMaker 2's own classes: prints the bytes of their records, and what its clients find on a cluster.
// Run as a single source file.
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.mirror.Checkpoint;
import org.apache.kafka.connect.mirror.DefaultReplicationPolicy;
import org.apache.kafka.connect.mirror.Heartbeat;
import org.apache.kafka.connect.mirror.MirrorClient;
import org.apache.kafka.connect.mirror.OffsetSync;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

public class Mm2 {
    private static final Duration TIMEOUT = Duration.ofSeconds(30);

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "vectors" -> vectors();
            case "names" -> names(arguments);
            case "clients" -> clients(arguments);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void vectors() throws Exception {
        System.out.println("# Records of MirrorMaker 2 by its own classes: kind, fields, key, value; printed by Mm2.java");
        heartbeat("A", "B", 1700000000000L);
        heartbeat("", "", 0);
        heartbeat("eu-west", "köln", -1);
        checkpoint("g", "A.t", 3, 10, 7, "");
        checkpoint("", "", 0, 0, 0, "");
        checkpoint("größe", "aws.orders", 2147483647, Long.MAX_VALUE, 1L << 40, "AgAAAYvP5WgA");
        checkpoint("g", "t", -1, -1, Long.MIN_VALUE, "x".repeat(300));
        sync("t", 3, 10, 7);
        sync("", 0, 0, 0);
        sync("orders.v1", 2147483647, Long.MAX_VALUE, -1);
    }

    private static void heartbeat(String source, String target, long time) throws Exception {
        Heartbeat record = new Heartbeat(source, target, time);
        print(record, "heartbeat", source, target, time);
    }

    private static void checkpoint(String group, String topic, int partition, long up, long down, String metadata)
            throws Exception {
        Checkpoint record = new Checkpoint(group, new TopicPartition(topic, partition), up, down, metadata);
        print(record, "checkpoint", group, topic, partition, up, down, metadata);
    }

    private static void sync(String topic, int partition, long up, long down) throws Exception {
        OffsetSync record = new OffsetSync(new TopicPartition(topic, partition), up, down);
        print(record, "offset-sync", topic, partition, up, down);
    }

    private static void print(Object record, Object... fields) throws Exception {
        StringBuilder line = new StringBuilder();
        for (Object field : fields) {
            line.append(field).append('\t');
        }
        line.append(bytes(record, "recordKey")).append('\t').append(bytes(record, "recordValue")).append('\n');
        System.out.write(line.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    private static String bytes(Object record, String name) throws Exception {
        Method method = record.getClass().getDeclaredMethod(name);
        method.setAccessible(true);
        return HexFormat.of().formatHex((byte[]) method.invoke(record));
    }

    /** SEPARATOR TOPIC...: each with whether the policy with this separator takes it for internal. */
    private static void names(String[] arguments) {
        DefaultReplicationPolicy policy = new DefaultReplicationPolicy();
        policy.configure(Map.of("replication.policy.separator", arguments[1]));
        for (int i = 2; i < arguments.length; i++) {
            System.out.println(arguments[i] + " " + policy.isInternalTopic(arguments[i]));
        }
    }

    /** BOOTSTRAP SOURCE GROUP: what the clients find, one line each, sorted. */
    private static void clients(String[] arguments) throws Exception {
        Map<String, Object> properties = Map.of("bootstrap.servers", arguments[1]);
        String source = arguments[2];
        try (MirrorClient client = new MirrorClient(properties)) {
            System.out.println("upstream " + new TreeSet<>(client.upstreamClusters()));
            System.out.println("hops " + client.replicationHops(source));
            System.out.println("heartbeats " + client.heartbeatTopics().contains(source + ".heartbeats"));
            System.out.println("checkpoints " + client.checkpointTopics().contains(source + ".checkpoints.internal"));
            System.out.println("remote " + new TreeSet<>(client.remoteTopics(source)));
            offsets("client", client.remoteConsumerOffsets(arguments[3], source, TIMEOUT));
        }
        offsets("utils", RemoteClusterUtils.translateOffsets(properties, source, arguments[3], TIMEOUT));
        System.out.println("hops by utils " + RemoteClusterUtils.replicationHops(properties, source));
    }

    private static void offsets(String by, Map<TopicPartition, OffsetAndMetadata> found) {
        Map<String, String> sorted = new TreeMap<>();
        found.forEach((place, offset) -> sorted.put(place.toString(), offset.offset() + " " + offset.metadata()));
        System.out.println(by + " " + sorted);
    }
}
