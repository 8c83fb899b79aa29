"""Bytes to packaged bytes and back, in bounded memory: digests, chunks, compression, sealing, packs."""
