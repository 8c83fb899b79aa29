"""Formats of model files, read for offsets only, by the publisher only (`docs/formats/chunking.md`)."""
