"""HTTP: shares, pools, metrics, health and the page. Reads Redis, writes nothing."""
