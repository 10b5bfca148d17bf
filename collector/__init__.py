"""Poll pool APIs, receive partners' rows, and publish both to Kafka."""
