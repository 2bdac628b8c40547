package splitting;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/** The wire contract: generic Avro records in the single-object encoding. Safe for use by several threads. */
final class Records {
  private static final int NO_RULE = -1;

  private final Schema output;
  private final Schema audit;
  private final BinaryMessageDecoder<GenericRecord> requestDecoder;
  private final BinaryMessageEncoder<GenericRecord> outputEncoder;
  private final BinaryMessageEncoder<GenericRecord> auditEncoder;

  /**
   * @param folder of the schemas
   * @throws IOException if one cannot be read
   */
  Records(Path folder) throws IOException {
    Schema request = new Schema.Parser().parse(folder.resolve("request.avsc").toFile());
    output = new Schema.Parser().parse(folder.resolve("output.avsc").toFile());
    audit = new Schema.Parser().parse(folder.resolve("audit.avsc").toFile());
    requestDecoder = new BinaryMessageDecoder<>(GenericData.get(), request);
    outputEncoder = new BinaryMessageEncoder<>(GenericData.get(), output);
    auditEncoder = new BinaryMessageEncoder<>(GenericData.get(), audit);
  }

  /** How a request was routed and served. */
  record Served(
      String id, int bucket, String arm, String model, List<GenericRecord> tensors, long micros, long finished) {}

  Deserializer<GenericRecord> requestDeserializer() {
    return (topic, value) -> {
      try {
        return requestDecoder.decode(value);
      } catch (IOException error) {
        throw new SerializationException("expected a request in Avro's single-object encoding", error);
      }
    };
  }

  /** The schema of an output's tensors. */
  Schema tensor() {
    return output.getField("outputs").schema().getElementType();
  }

  byte[] output(Served served, RecordMetadata source, String rollout) throws IOException {
    GenericData.Record record = new GenericData.Record(output);
    record.put("id", served.id());
    record.put("rollout", rollout);
    record.put("revision", 0L);
    record.put("arm", served.arm());
    record.put("model", served.model());
    record.put("outcome", "ok");
    record.put("outputs", served.tensors());
    record.put("source_partition", source.partition());
    record.put("source_offset", source.offset());
    return outputEncoder.encode(record).array();
  }

  byte[] audit(Served served, RecordMetadata source, long time, String rollout) throws IOException {
    GenericData.Record record = new GenericData.Record(audit);
    record.put("id", served.id());
    record.put("unit", ByteBuffer.wrap(served.id().getBytes(StandardCharsets.UTF_8)));
    record.put("rollout", rollout);
    record.put("revision", 0L);
    record.put("rule", NO_RULE);
    record.put("bucket", served.bucket());
    record.put("arm", served.arm());
    record.put("served_by", served.arm());
    record.put("model", served.model());
    record.put("outcome", "ok");
    record.put("source_partition", source.partition());
    record.put("source_offset", source.offset());
    record.put("request_time", time);
    record.put("processed_time", served.finished());
    record.put("inference_micros", served.micros());
    record.put("score", null);
    record.put("mirrored", List.of());
    return auditEncoder.encode(record).array();
  }
}
