package splitting;

import ai.onnxruntime.OrtException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import net.jpountz.xxhash.XXHash64;
import net.jpountz.xxhash.XXHashFactory;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/** Routes a request by the hash of its id, runs its arm, and forwards an output and an audit record. */
final class Split implements Processor<byte[], GenericRecord, byte[], Answer> {
  static final String OUTPUTS = "outputs";
  static final String AUDIT = "audit";
  private static final int BUCKETS = 10_000;

  private final XXHash64 hash = XXHashFactory.fastestInstance().hash64();
  private final Plan plan;
  private final Records records;
  private final List<Arm> arms;
  private final Filler outputFiller;
  private final Filler auditFiller;
  private ProcessorContext<byte[], Answer> context;

  Split(Plan plan, Records records, List<Arm> arms) {
    this.plan = plan;
    this.records = records;
    this.arms = arms;
    outputFiller = new Filler(plan.outputBytes());
    auditFiller = new Filler(plan.auditBytes());
  }

  @Override
  public void init(ProcessorContext<byte[], Answer> context) {
    this.context = context;
  }

  @Override
  public void process(Record<byte[], GenericRecord> request) {
    RecordMetadata source = context.recordMetadata().orElseThrow();
    try {
      Records.Served served = serve(request.value());
      byte[] output = records.output(served, source, plan.salt() + outputFiller.text());
      byte[] audit = records.audit(served, source, request.timestamp(), plan.salt() + auditFiller.text());
      outputFiller.note(output);
      auditFiller.note(audit);
      context.forward(request.withValue(new Answer(output, source.partition())), OUTPUTS);
      context.forward(request.withValue(new Answer(audit, source.partition())), AUDIT);
    } catch (IOException | OrtException error) {
      throw new IllegalStateException("request at " + source.partition() + ":" + source.offset(), error);
    }
  }

  private Records.Served serve(GenericRecord request) throws OrtException {
    String id = request.get("id").toString();
    byte[] unit = (plan.salt() + ":" + id).getBytes(StandardCharsets.UTF_8);
    int bucket = (int) Long.remainderUnsigned(hash.hash(unit, 0, unit.length, 0), BUCKETS);
    Arm arm = arms.get(bucket < plan.weightPercent() * BUCKETS / 100 ? 1 : 0);
    long begun = System.nanoTime();
    List<GenericRecord> tensors = arm.run(request);
    long micros = (System.nanoTime() - begun) / 1000;
    return new Records.Served(id, bucket, arm.name, arm.model, tensors, micros, System.currentTimeMillis());
  }

  /** Text that makes values as long as they shall be in the mean: what the value before was short of. */
  private static final class Filler {
    private final int mean;
    private String text = "";

    Filler(double mean) {
      this.mean = (int) Math.round(mean);
    }

    String text() {
      return text;
    }

    void note(byte[] value) {
      int wanted = Math.max(0, mean - value.length + text.length());
      if (wanted != text.length()) {
        text = ".".repeat(wanted);
      }
    }
  }
}
