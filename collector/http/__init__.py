"""Send HTTP requests to other people's servers: limits, back-off and address checks."""
