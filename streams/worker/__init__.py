"""Consume Kafka with Faust and write cells to Redis."""
