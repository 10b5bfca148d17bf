"""Take partners' rows over HTTP and turn them into reports."""
