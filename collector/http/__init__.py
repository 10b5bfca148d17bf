"""Requests to third-party servers: rate limits, back-off, conditional requests, address checks."""
