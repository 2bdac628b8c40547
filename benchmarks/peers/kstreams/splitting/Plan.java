package splitting;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.List;

/** What to serve, and the conditions that are the same for all: plan.py says what each field means. */
record Plan(
    String brokers,
    String source,
    String targets,
    int batch,
    List<String> models,
    String kind,
    String salt,
    double weightPercent,
    double outputBytes,
    double auditBytes,
    String folder,
    boolean exactlyOnce,
    int lingerMs,
    String compression) {

  private static final ObjectMapper JSON =
      JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();

  static Plan parse(String text) throws JsonProcessingException {
    return JSON.readValue(text, Plan.class);
  }

  String outputs() {
    return targets + ".outputs";
  }

  String audit() {
    return targets + ".audit";
  }
}
