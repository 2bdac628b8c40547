"""StreamSplit: progressive delivery of ONNX models on live Kafka traffic."""
