"""Sources of pools' hashrates, one file each, found by scanning this package."""
