"""The loops over records and bytes that Python would be too slow for, in C: no Kafka or rollout of its own.

`client.c` moves records between librdkafka and columns, `rows.c` puts rows of Avro together, `hashes.c` hashes units.
`library.py` loads what they were compiled to and is the only place that calls it; it takes and gives numpy arrays.
"""
