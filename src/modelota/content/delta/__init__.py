"""Chunks as deltas against other chunks (`docs/formats/delta.md`)."""

from modelota.content.delta.operations import BASELESS, OPERATIONS, decode_delta, encode_delta, encode_full

__all__ = ["BASELESS", "OPERATIONS", "decode_delta", "encode_delta", "encode_full"]
