"""The live Bitcoin mining map: what its services and its client share.

Messages, places, units, times, settings, Kafka topics, the models of the HTTP API and CBECI's
formats. A report moves forward through ``collector`` (pools to Kafka), ``streams`` (Kafka to Redis)
and ``endpoint`` (Redis to HTTP); ``launch`` starts them. This package imports none of them.
"""

from importlib.metadata import version

__version__ = version("miningmap")
