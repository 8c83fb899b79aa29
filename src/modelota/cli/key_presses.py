"""Key presses from the bytes that a terminal sends (ECMA-48, xterm's control sequences)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

PASTE_MAX_CHARS: Final = 65_536

_PASTE: Final = re.compile("\x1b\\[200~.*?\x1b\\[201~", re.DOTALL)
_SEQUENCE: Final = re.compile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|O.|[^\\[O])", re.DOTALL)
_NAMES: Final = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "page-up",
    "\x1b[6~": "page-down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\t": "tab",
    "\x1b": "escape",
    "\x0c": "redraw",
    " ": "page-down",
}


class KeyPresses:
    """Turns what is read into key presses: letters as lower case, others by name (`up`, `page-down`, `escape`, …).

    What is pasted is no key press: nobody accepts an update by pasting a text that happens to hold the letters.
    """

    def __init__(self) -> None:
        self._rest = ""

    @property
    def waiting(self) -> bool:
        """Whether the beginning of a sequence is held back until the rest of it arrives."""
        return bool(self._rest)

    def take(self, text: str) -> list[str]:
        """The key presses in `text`, with what was held back before it."""
        text = _PASTE.sub("", self._rest + text)
        self._rest = ""
        keys: list[str] = []
        while text:
            found = _SEQUENCE.match(text)
            if text.startswith("\x1b[200~") or (text[0] == "\x1b" and found is None):
                self._rest = text if len(text) <= PASTE_MAX_CHARS else ""
                break
            taken = found[0] if found is not None else text[0]
            text = text[len(taken) :]
            key = _NAMES.get(taken) or (_plain(taken) if len(taken) == 1 else "")
            if key:
                keys.append(key)
        return keys

    def give_up(self) -> list[str]:
        """The rest did not come: a lone escape is the key of that name, anything else means nothing."""
        rest = self._rest
        if rest.startswith("\x1b[200~"):
            return []  # the end of what is pasted may take its time
        self._rest = ""
        return ["escape"] if rest == "\x1b" else []


def _plain(char: str) -> str:
    """A letter as lower case, also one that a Chinese input method gave in its full-width form."""
    folded = unicodedata.normalize("NFKC", char).lower()
    return folded if folded.isprintable() and len(folded) == 1 else ""
