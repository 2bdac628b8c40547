"""Pure rules and records: routing, the rollout state machine, summaries. No clock, no I/O, no logger."""
