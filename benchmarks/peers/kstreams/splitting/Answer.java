package splitting;

import java.util.Optional;
import java.util.Set;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.processor.StreamPartitioner;

/** A value for one of the topics behind, and the partition of its request, which it goes to. */
record Answer(byte[] value, int partition) {

  static final Serializer<Answer> SERIALIZER = (topic, answer) -> answer.value();

  static final StreamPartitioner<byte[], Answer> PARTITIONER =
      (topic, key, answer, partitions) -> Optional.of(Set.of(answer.partition()));
}
