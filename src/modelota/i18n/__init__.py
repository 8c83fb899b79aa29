"""The only place that renders text for people: zh-CN and en.

Other rooms raise codes and pass plain values; this one turns them into sentences. English text is the message id, the
Chinese catalogue lies in `locales/` as `.po` with its compiled `.mo` beside it (`scripts/messages.py` keeps both).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Language = Literal["zh-CN", "en"]

LANGUAGES: Final[tuple[Language, ...]] = ("zh-CN", "en")

# POSIX.1-2024, 8.2: LC_ALL overrides LC_MESSAGES, which overrides LANG; an empty value counts as unset.
_VARIABLES: Final = ("MODELOTA_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def pick_language(explicit: str | None, environ: Mapping[str, str]) -> Language:
    """Choose the language to speak.

    Args:
        explicit: what the person asked for (`zh`, `zh-CN`, `zh_CN.UTF-8`, `en`, …), or None.
        environ: environment variables; the first one set of `MODELOTA_LANG`, `LC_ALL`, `LC_MESSAGES`, `LANG` decides.

    Returns:
        `zh-CN` for any kind of Chinese, else `en`.
    """
    wanted = explicit or next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    return "zh-CN" if wanted.lower().startswith("zh") else "en"
