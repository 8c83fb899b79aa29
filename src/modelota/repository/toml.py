"""TOML written from plain data; reading is `tomllib`'s.

Only what the publisher's own files need: tables, arrays of tables, strings, integers, floats, booleans, arrays.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def render(table: Mapping[str, object]) -> str:
    """Render `table` as TOML 1.0 text; keys whose value is None are left out.

    `bytes` must have been turned into text before (msgspec does, as base64).

    Raises:
        TypeError: a value has no TOML form.
    """
    lines: list[str] = []
    _table(table, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def quoted(text: str) -> str:
    """`text` as a basic string of TOML, quotes included."""
    # JSON's escapes are a subset of TOML's; DEL is the one character that only TOML forbids bare
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(table: Mapping[str, object], prefix: str, lines: list[str]) -> None:
    nested: list[tuple[str, object]] = []
    for key, value in table.items():
        if value is None:
            continue
        if isinstance(value, Mapping) or _is_tables(value):
            nested.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_inline(value)}")
    for key, value in nested:
        name = f"{prefix}{_key(key)}"
        if isinstance(value, Mapping):
            lines.extend(("", f"[{name}]"))
            _table(value, name + ".", lines)
        else:
            assert isinstance(value, (list, tuple))
            for item in value:
                lines.extend(("", f"[[{name}]]"))
                _table(item, name + ".", lines)


def _is_tables(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else quoted(text)


def _inline(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    raise TypeError(f"no TOML form for {type(value).__name__}")
