package splitting;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;

/**
 * Kafka Streams and ONNX Runtime: a processor between a source and two sinks, a record at a time.
 *
 * <p>Arguments: the folder of the schemas, and the plan as JSON. It runs until SIGTERM.
 */
public final class Main {
  /** The largest of Confluent's advice for throughput; the default is 16 kB. */
  private static final int BATCH_BYTES = 200_000;

  /** The default of exactly-once; that of at-least-once is 30 s, and would hide how far it is. */
  private static final int COMMIT_MS = 100;

  private static final Duration PATIENCE = Duration.ofSeconds(20);
  private static final int MOST_THREADS = 4;

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    Plan plan = Plan.parse(arguments[1]);
    Records records = new Records(Path.of(arguments[0]));
    List<Arm> arms =
        List.of(
            new Arm("control", Path.of(plan.models().get(0)), records.tensor()),
            new Arm("canary", Path.of(plan.models().get(1)), records.tensor()));
    KafkaStreams streams = new KafkaStreams(topology(plan, records, arms), properties(plan));
    CountDownLatch failed = new CountDownLatch(1);
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            failed.countDown();
          }
        });
    Thread hook = new Thread(() -> stop(streams));
    Runtime.getRuntime().addShutdownHook(hook);
    streams.start();
    failed.await();
    Runtime.getRuntime().removeShutdownHook(hook);
    System.exit(1);
  }

  private static void stop(KafkaStreams streams) {
    streams.close(PATIENCE);
    // A Java process that SIGTERM ends says 143.
    Runtime.getRuntime().halt(0);
  }

  private static Topology topology(Plan plan, Records records, List<Arm> arms) {
    var key = new ByteArraySerializer();
    return new Topology()
        .addSource("requests", new ByteArrayDeserializer(), records.requestDeserializer(), plan.source())
        .addProcessor("split", () -> new Split(plan, records, arms), "requests")
        .addSink(Split.OUTPUTS, plan.outputs(), key, Answer.SERIALIZER, Answer.PARTITIONER, "split")
        .addSink(Split.AUDIT, plan.audit(), key, Answer.SERIALIZER, Answer.PARTITIONER, "split");
  }

  private static Properties properties(Plan plan) throws Exception {
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, plan.targets());
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, plan.brokers());
    properties.put(
        StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
        plan.exactlyOnce() ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, COMMIT_MS);
    int cores = Runtime.getRuntime().availableProcessors();
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Math.min(cores, MOST_THREADS));
    properties.put(StreamsConfig.STATE_DIR_CONFIG, plan.folder());
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), plan.batch());
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), plan.lingerMs());
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), plan.compression());
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), BATCH_BYTES);
    return properties;
  }
}
