// Refuses topics as managed clusters do; the topic's name says which rule holds.
// Compiled by the test that uses it.
import java.util.Set;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

public class Policy implements CreateTopicPolicy {
    private static final Set<String> FEW = Set.of(
        "cleanup.policy", "retention.ms", "max.message.bytes", "compression.type", "message.timestamp.type");

    @Override
    public void validate(RequestMetadata request) {
        String topic = request.topic();
        if (topic.contains("bigsegments")) {
            long segment = Long.parseLong(request.configs().getOrDefault("segment.bytes", "1073741824"));
            if (segment < 50 << 20) {
                throw new PolicyViolationException("segment.bytes is below 50 MiB");
            }
        }
        if (topic.contains("fewsettings")) {
            for (String name : request.configs().keySet()) {
                if (!FEW.contains(name)) {
                    throw new PolicyViolationException(name + " may not be set");
                }
            }
        }
        if (topic.contains("forbidden")) {
            throw new PolicyViolationException("no such topics here");
        }
    }

    @Override
    public void configure(java.util.Map<String, ?> configs) {}

    @Override
    public void close() {}
}
