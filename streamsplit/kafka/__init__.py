"""Everything that speaks to Kafka: lane, transaction, control log, topics, development broker."""
