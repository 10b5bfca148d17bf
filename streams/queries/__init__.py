"""Questions about the map and how their answers are computed from cells."""
