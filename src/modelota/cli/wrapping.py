"""Breaking text into lines of a terminal: English between words, Chinese between characters, not before its stops."""

from __future__ import annotations

from typing import Final

from modelota.i18n.texts import width

# Chinese text layout requirements (W3C clreq, 3.1.3): what may not begin a line, and what may not end one.
_NOT_FIRST: Final = frozenset("，。、；：！？）」』”》】…·％%,.;:!?)]}")
_NOT_LAST: Final = frozenset("（「『“《【([{")
_BETWEEN: Final = " · "


def wrap(text: str, columns: int) -> list[str]:
    """Break `text` into lines of at most `columns` terminal columns; at least one line, line feeds are kept.

    What stands between ` · ` stays together where it fits on a line. A piece without any place to break that is longer
    than a line is cut where the line ends.
    """
    columns = max(2, columns)  # a wide character has to fit
    return [line for paragraph in text.split("\n") for line in _wrap_paragraph(paragraph, columns)]


def cut(text: str, columns: int) -> str:
    """Shorten `text` to at most `columns` terminal columns; what is left out shows as `…`."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for char in text:
        used += width(char)
        if used > columns - 1:
            break
        kept += char
    return f"{kept}…" if columns > 0 else ""


def _wrap_paragraph(text: str, columns: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for piece in _parts(text, columns):
        if line and width(line) + width(piece.rstrip(" ")) > columns:
            lines.append(line.rstrip(" "))
            line = ""
        while width(piece.rstrip(" ")) > columns:
            head = _head(piece, columns)
            lines.append(head.rstrip(" "))
            piece = piece[len(head) :].lstrip(" ")  # noqa: PLW2901  what is left of it
        line += piece
    return [*lines, line.rstrip(" ")]


def _parts(text: str, columns: int) -> list[str]:
    """The pieces of a line of facts: each fact whole where it fits, its separator at its end."""
    *parts, last = text.split(_BETWEEN)
    parts = [*(f"{part}{_BETWEEN}" for part in parts), last]
    return [piece for part in parts for piece in ([part] if width(part.rstrip(" ")) <= columns else _pieces(part))]


def _pieces(text: str) -> list[str]:
    """What is not to be broken, in order; together they are `text`."""
    pieces: list[str] = []
    begin = 0
    for at in range(1, len(text)):
        before, after = text[at - 1], text[at]
        if after == " " or after in _NOT_FIRST or before in _NOT_LAST or _is_figure(text, at):
            continue
        if before == " " or width(before) > 1 or width(after) > 1:
            pieces.append(text[begin:at])
            begin = at
    return [*pieces, text[begin:]]


def _is_figure(text: str, at: int) -> bool:
    """Whether the blank before `at` stands between a figure and what it counts, as in `12 月 1 日` and `约 6 分钟`."""
    if at < 2 or text[at - 1] != " ":
        return False
    before, after = text[at - 2], text[at]
    return (before.isdigit() and width(after) > 1) or (width(before) > 1 and after.isdigit())


def _head(piece: str, columns: int) -> str:
    used = 0
    for at, char in enumerate(piece):
        used += width(char)
        if used > columns:
            return piece[:at]
    return piece
