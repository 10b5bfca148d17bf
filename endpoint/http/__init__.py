"""HTTP policies: middlewares, errors, rate limit, caching and CSV."""
