"""Send the events of swings from Kafka to a webhook, for those who run no Prometheus.

``events`` reads events and ``choice`` decides which of them are sent; ``signature`` signs them,
``receiver`` delivers one until the webhook has it, and ``feed`` follows the topic. ``service`` runs
it. docs/notify.md is the page for those who write a receiver.
"""
