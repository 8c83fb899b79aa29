"""Names that become paths: models, variants, classes, files of a release. Checked on the way in and on the way out."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final

from modelota.errors import RefuseContent
from modelota.spec.limits import NAME_MAX_CHARS, PATH_MAX_BYTES

_PART: Final = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_MODEL: Final = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_NAME: Final = re.compile(_PART, re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WINDOWS_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_model(text: str) -> bool:
    """Whether `text` names a model: `<vendor>/<product>`, each part of lower-case letters, digits, `.`, `_`, `-`."""
    return _MODEL.fullmatch(text) is not None and ".." not in text


def is_name(text: str) -> bool:
    """Whether `text` names a variant, device class, suite or runtime profile."""
    return _NAME.fullmatch(text) is not None and len(text) <= NAME_MAX_CHARS and ".." not in text


def is_digest(text: str) -> bool:
    """Whether `text` is a 256-bit digest in lower-case hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def safe_path(text: str) -> PurePosixPath:
    """Check the path of a file inside a release, as it will be created below a slot.

    Returns the path, which is relative, has no `.` or `..` part, no control character, backslash, colon or name that is
    special on some system, is in Unicode NFC, and is at most `PATH_MAX_BYTES` long.

    Raises:
        RefuseContent: `unsafe-path`.
    """
    path = PurePosixPath(text)
    parts = text.split("/")
    sound = (
        0 < len(text.encode("utf-8", "surrogatepass")) <= PATH_MAX_BYTES
        and not path.is_absolute()
        and all(part not in {"", ".", ".."} and len(part.encode("utf-8", "replace")) <= 255 for part in parts)
        and not any(unicodedata.category(char) in {"Cc", "Cs", "Cf"} or char in '\\:*?"<>|' for char in text)
        and not any(_WINDOWS_RESERVED.fullmatch(part) or part.endswith((" ", ".")) for part in parts)
        and unicodedata.is_normalized("NFC", text)
    )
    if not sound:
        raise RefuseContent("unsafe-path", path=ascii(text)[:200])
    return path
