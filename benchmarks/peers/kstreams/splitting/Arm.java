package splitting;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;

/** A model in ONNX Runtime, on the calling thread. Safe for use by several threads. */
final class Arm {
  private static final int LENGTH_BYTES = 4;

  final String name;
  final String model;
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;
  private final Map<String, OnnxJavaType> inputs = new HashMap<>();
  private final Schema tensor;
  private final Map<OnnxJavaType, GenericData.EnumSymbol> datatypes;

  Arm(String name, Path file, Schema tensor) throws OrtException {
    this.name = name;
    this.tensor = tensor;
    model =
        file.endsWith("model.onnx")
            ? file.getName(file.getNameCount() - 3) + "@" + file.getName(file.getNameCount() - 2)
            : file.getFileName().toString().replace(".onnx", "");
    OrtSession.SessionOptions options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(1);
    options.setInterOpNumThreads(1);
    session = environment.createSession(file.toString(), options);
    for (NodeInfo input : session.getInputInfo().values()) {
      inputs.put(input.getName(), ((TensorInfo) input.getInfo()).type);
    }
    Schema datatype = tensor.getField("datatype").schema();
    datatypes =
        Map.of(
            OnnxJavaType.FLOAT, new GenericData.EnumSymbol(datatype, "FP32"),
            OnnxJavaType.INT64, new GenericData.EnumSymbol(datatype, "INT64"));
  }

  /** The output tensors of one request. */
  List<GenericRecord> run(GenericRecord request) throws OrtException {
    Map<String, OnnxTensor> feed = new HashMap<>();
    try {
      for (Object each : (List<?>) request.get("inputs")) {
        GenericRecord input = (GenericRecord) each;
        String named = input.get("name").toString();
        feed.put(named, input(inputs.get(named), ((ByteBuffer) input.get("data")).duplicate()));
      }
      try (OrtSession.Result result = session.run(feed)) {
        List<GenericRecord> tensors = new ArrayList<>(result.size());
        for (var output : result) {
          tensors.add(output(output.getKey(), (OnnxTensor) output.getValue()));
        }
        return tensors;
      }
    } finally {
      feed.values().forEach(OnnxTensor::close);
    }
  }

  private OnnxTensor input(OnnxJavaType type, ByteBuffer data) throws OrtException {
    data.order(ByteOrder.LITTLE_ENDIAN);
    return switch (type) {
      case FLOAT -> {
        var floats = data.asFloatBuffer();
        yield OnnxTensor.createTensor(environment, floats, new long[] {1, floats.remaining()});
      }
      case STRING -> {
        String text = StandardCharsets.UTF_8.decode(data.position(data.position() + LENGTH_BYTES)).toString();
        yield OnnxTensor.createTensor(environment, new String[] {text}, new long[] {1, 1});
      }
      default -> throw new IllegalArgumentException("expected inputs of floats or texts, found " + type);
    };
  }

  private GenericRecord output(String named, OnnxTensor answer) {
    TensorInfo info = answer.getInfo();
    List<Long> shape = new ArrayList<>();
    for (int axis = 1; axis < info.getShape().length; axis++) {
      shape.add(info.getShape()[axis]);
    }
    GenericData.Record record = new GenericData.Record(tensor);
    record.put("name", named);
    record.put("datatype", datatypes.get(info.type));
    record.put("shape", shape);
    record.put("data", answer.getByteBuffer());
    return record;
  }
}
