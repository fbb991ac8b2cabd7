import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Publishes one event to Lianxin. Java 17 and kafka-clients are all it needs.
 *
 * <pre>java -cp '.:libs/*' Producer hospital.encounters hospital.encounter.discharged.v1 \
 *     h1 p-100234 body.json</pre>
 *
 * The arguments are the topic, the type, the hospital, the value of the topic's key field and a
 * file with the body. KAFKA_BOOTSTRAP_SERVERS names the broker, and KAFKA_PROPERTIES a file with
 * whatever else it wants, such as client.properties beside this file.
 */
public final class Producer {

    /** Who you are; agreed with whoever operates Lianxin. */
    static final String SOURCE = "/hospitals/h1/his";

    public static void main(String[] args) throws Exception {
        String topic = args[0], type = args[1], hospital = args[2];
        byte[] key = (hospital + "/" + args[3]).getBytes(StandardCharsets.UTF_8);
        byte[] body = Files.readAllBytes(Path.of(args[4]));

        // The same for the same content: what you send again after a fault is one event for us.
        // A system that numbers its events takes that number.
        byte[] content = (SOURCE + hospital + type + new String(body, StandardCharsets.UTF_8))
                .getBytes(StandardCharsets.UTF_8);
        String id = UUID.nameUUIDFromBytes(content).toString();
        Map<String, String> headers = Map.of(
                "content-type", "application/json",
                "ce_specversion", "1.0",
                "ce_id", id,
                "ce_source", SOURCE,
                "ce_type", type,
                // When it happened, not when it is sent; here they are the same.
                "ce_time", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString(),
                "ce_hospital", hospital,
                "ce_dataschema", "https://lianxin.example/schemas/" + type + ".json");

        Properties settings = connection();
        settings.put(ProducerConfig.ACKS_CONFIG, "all");
        settings.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, "true");
        settings.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class.getName());
        settings.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class.getName());
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            // No partition: Kafka's own partitioner, murmur2 of the key, is the one that we share.
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, key, body);
            headers.forEach((name, value) ->
                    record.headers().add(name, value.getBytes(StandardCharsets.UTF_8)));
            RecordMetadata sent = producer.send(record).get();
            // Only now may you forget the event.
            System.out.printf("%s %d:%d %s%n", sent.topic(), sent.partition(), sent.offset(), id);
        }
    }

    /** Where the broker is, and the credential that it wants. */
    static Properties connection() throws Exception {
        Properties found = new Properties();
        String file = System.getenv("KAFKA_PROPERTIES");
        if (file != null) {
            try (Reader reader = Files.newBufferedReader(Path.of(file))) {
                found.load(reader);
            }
        }
        String servers = System.getenv().getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092");
        found.putIfAbsent("bootstrap.servers", servers);
        return found;
    }

    private Producer() {}
}
