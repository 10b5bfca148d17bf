"""Sources of the network's hashrate, one file each, found by scanning this package."""
