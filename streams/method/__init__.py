"""The arithmetic of the method (docs/method.md). Pure: no Faust, Redis, Kafka, HTTP or clock."""
