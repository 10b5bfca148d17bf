"""Cells, snapshots and events in Redis."""
