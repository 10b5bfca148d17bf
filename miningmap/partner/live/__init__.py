"""Live rows at the pool: make one for each interval, and forward them to a map through a spool."""
