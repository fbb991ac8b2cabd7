import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what Lianxin publishes. Java 17 and kafka-clients are all it needs.
 *
 * <pre>java -cp '.:libs/*' Consumer his.invitations enrollment.events</pre>
 *
 * The arguments are your consumer group and the topics. Where the broker is and who you are stand
 * in the same variables as for Producer.
 */
public final class Consumer {

    public static void main(String[] args) throws Exception {
        List<String> topics = Arrays.asList(args).subList(1, args.length);
        Properties settings = Producer.connection();
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, args[0]);
        // A group that is new begins with what is still kept.
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        // Not before you have handled it.
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());

        // Yours is a table with a unique key, written together with what you do.
        Set<String> handled = new HashSet<>();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(topics);
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (record.headers().lastHeader("ce_id") == null) {
                        continue; // other systems may write structured mode: see the README
                    }
                    String event = header(record, "ce_hospital") + " " + header(record, "ce_source")
                            + " " + header(record, "ce_id");
                    if (!handled.add(event)) {
                        continue; // it has come before
                    }
                    // Skip the types that you do not know; ignore the fields that you do not know.
                    String body = new String(record.value(), StandardCharsets.UTF_8);
                    System.out.println(header(record, "ce_type") + " " + event + " " + body);
                }
                consumer.commitSync();
            }
        }
    }

    private static String header(ConsumerRecord<byte[], byte[]> record, String name) {
        return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    private Consumer() {}
}
