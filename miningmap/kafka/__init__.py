"""Kafka: topics, producer, reader, administration, consumer lag and dead letters."""
