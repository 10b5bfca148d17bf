"""Polls pool APIs and receives partners' rows; publishes what they say to Kafka."""
