"""Kafka to Redis: cells, shares and snapshots. The arithmetic is pure; Faust is at the edge."""
