"""Redis to HTTP: shares, pools, metrics, health and the page. Writes nothing."""
