"""Simulators and suites, shipped with the product."""
