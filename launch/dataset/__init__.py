"""Editions of the map in folders: ``miningmap dataset`` (docs/dataset.md).

``messages`` selects and sorts the messages, ``edition`` writes the folder, with the texts of
``descriptions``; ``reading`` reads and verifies it. The rows come from ``streams.queries.dataset``.
"""
