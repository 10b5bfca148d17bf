"""The live Bitcoin mining map: the vocabulary that its services share, and the command line.

A reader who follows one report walks forward through ``collector`` (pools to Kafka), ``streams``
(Kafka to Redis) and ``endpoint`` (Redis to HTTP). This package is what all three speak: messages,
places, units, times, topics and settings.
"""

from importlib.metadata import version

__version__ = version("miningmap")
