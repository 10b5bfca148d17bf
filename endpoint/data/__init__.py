"""Reads from Redis: the store with deadlines, and the newest snapshots in memory."""
