"""modelota: update and operate large models on devices."""

__version__ = "0.1.0"
