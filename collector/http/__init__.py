"""Requests to other servers: rate limits, back-off, conditional requests, address checks."""
