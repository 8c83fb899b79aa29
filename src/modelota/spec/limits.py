"""Limits on everything that is parsed from outside.

A limit is part of a format: what exceeds it is refused with a code, whoever signed it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# documents, decoded
CATALOG_MAX_BYTES: Final = 4 * MIB
CONTROL_MAX_BYTES: Final = 256 * KIB
MANIFEST_MAX_BYTES: Final = 64 * MIB
MANIFEST_SEALED_MAX_BYTES: Final = 16 * MIB  # as published, compressed
ENROLMENT_MAX_BYTES: Final = 1 * MIB
DESCRIPTION_MAX_BYTES: Final = 1 * MIB
REQUEST_MAX_BYTES: Final = 1 * MIB  # a body on the agent's socket
RESPONSE_MAX_BYTES: Final = 16 * MIB  # a body that a client of the socket accepts

# content
CHUNK_MAX_BYTES: Final = 4 * MIB
PACK_TARGET_BYTES: Final = 64 * MIB  # a pack is closed once it has grown past this
PACK_MAX_BYTES: Final = 1 * GIB
FRAMES_MAX: Final = 1 << 20  # in one pack
CHUNKS_MAX: Final = 1 << 20  # in one release: 4 TiB of full chunks
FILES_MAX: Final = 65_536  # in one variant
VARIANTS_MAX: Final = 64
RELEASES_MAX: Final = 10_000
FILE_MAX_BYTES: Final = 1 << 42

# text
NAME_MAX_CHARS: Final = 64
PATH_MAX_BYTES: Final = 512
TEXT_MAX_CHARS: Final = 20_000
PROMPT_MAX_CHARS: Final = 20_000
SELF_TESTS_MAX: Final = 256

# TUF metadata, bytes
ROOT_MAX_BYTES: Final = 512_000
TIMESTAMP_MAX_BYTES: Final = 16_384
SNAPSHOT_MAX_BYTES: Final = 2_000_000
TARGETS_MAX_BYTES: Final = 5_000_000
ROOT_ROTATIONS_MAX: Final = 256
