"""The whole system on one machine: embedded servers and supervised processes."""
