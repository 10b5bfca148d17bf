"""Reads from Redis: the store with deadlines, and a cache of the newest snapshot."""
