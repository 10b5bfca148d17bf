"""HTTP policies: middleware, errors, rate limit, caching and CSV."""
