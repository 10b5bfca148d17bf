"""The top layer: command line, local supervisor and simulation; no other package imports it."""
