"""The bytes of every topic: framing, schemas, columns, tensors, dead letters."""
