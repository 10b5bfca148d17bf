"""The roof: the command line, the local supervisor and the simulation. Nothing below imports it."""
