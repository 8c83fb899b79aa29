"""Which sort of object a path in a repository names; the counterpart of `modelota.delivery.paths`."""

from __future__ import annotations

import enum
import re
from typing import Final

_METADATA: Final = re.compile(r"metadata/(?:timestamp|[1-9][0-9]{0,17}\.[a-z0-9._/-]{1,200})\.json", re.ASCII)
_TARGET: Final = re.compile(
    r"targets/[a-z0-9._-]+/[a-z0-9._-]+/"
    r"(?:([0-9a-f]{64})\.(?:catalog|control)\.json|[0-9.]{5,32}/([0-9a-f]{64})\.manifest\.json\.zst)",
    re.ASCII,
)
_PACK: Final = re.compile(r"packs/([0-9a-f]{2})/((?:\1)[0-9a-f]{62})", re.ASCII)


class Sort(enum.Enum):
    """What an object is."""

    METADATA = "metadata"
    TARGET = "target"
    PACK = "pack"
    UNKNOWN = "unknown"


def sort_object(path: str) -> tuple[Sort, str]:
    """The sort of the object at `path`, and the digest that its name states, or an empty text.

    Targets are named by SHA-256, packs by BLAKE3. Metadata is named by version, not by content.
    """
    if _METADATA.fullmatch(path):
        return Sort.METADATA, ""
    target = _TARGET.fullmatch(path)
    if target is not None:
        return Sort.TARGET, target[1] or target[2]
    pack = _PACK.fullmatch(path)
    if pack is not None:
        return Sort.PACK, pack[2]
    return Sort.UNKNOWN, ""
