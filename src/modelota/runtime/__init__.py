"""Engines as child processes, self-tests, and the gateway that applications talk to."""
