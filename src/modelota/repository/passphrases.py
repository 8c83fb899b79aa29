"""Where the passphrases of the publisher's keys come from: environment, file descriptor, or a person."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from modelota.errors import AskPerson

VARIABLE: Final = "MODELOTA_PASSPHRASE"
PASSPHRASE_MIN_CHARS: Final = 8
_DESCRIPTOR_MAX_BYTES: Final = 65_536

Prompt = Callable[[str, bool], str | None]


class Passphrases:
    """Answers for a key's passphrase; the first source that knows it wins.

    In this order:

    1. the environment variable `MODELOTA_PASSPHRASE_<KEY>`, the key's name in capitals with `_` for anything else than
       a letter or digit (`root-1`: `MODELOTA_PASSPHRASE_ROOT_1`), then `MODELOTA_PASSPHRASE` for all keys;
    2. a file descriptor, read once to its end: lines `name=passphrase` for single keys, any other line for all keys;
    3. a prompt.

    Args:
        prompt: called with the key's name and whether the passphrase is a new one (ask twice, then); None or an empty
            text means the person gave none.
        descriptor: an open file descriptor to read from; it is closed after it was read.
        environ: the environment; None is the process's own, an empty mapping switches that source off.
    """

    def __init__(
        self,
        *,
        prompt: Prompt | None = None,
        descriptor: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._prompt = prompt
        self._descriptor = descriptor
        self._environ = os.environ if environ is None else environ
        self._lines: list[str] | None = None

    def existing(self, key: str) -> bytes:
        """The passphrase that opens `key`.

        Raises:
            AskPerson: `passphrase-missing`.
        """
        return self._find(key, new=False).encode()

    def new(self, key: str) -> bytes:
        """The passphrase with which the new `key` is going to be sealed.

        Raises:
            AskPerson: `passphrase-missing`; `argument-invalid` when it is shorter than `PASSPHRASE_MIN_CHARS`.
        """
        text = self._find(key, new=True)
        if len(text) < PASSPHRASE_MIN_CHARS:
            detail = f"shorter than {PASSPHRASE_MIN_CHARS} characters"
            raise AskPerson("argument-invalid", argument=f"passphrase of {key}", detail=detail)
        return text.encode()

    def _find(self, key: str, *, new: bool) -> str:
        own = VARIABLE + "_" + re.sub(r"[^A-Z0-9]+", "_", key.upper())
        text = self._environ.get(own) or self._environ.get(VARIABLE) or self._from_descriptor(key)
        if not text and self._prompt is not None:
            text = self._prompt(key, new)
        if not text:
            raise AskPerson("passphrase-missing", key=key)
        return text

    def _from_descriptor(self, key: str) -> str | None:
        if self._lines is None:
            self._lines = [] if self._descriptor is None else _read_lines(self._descriptor)
        general = None
        for line in self._lines:
            name, separator, text = line.partition("=")
            if separator and name == key:
                return text
            if general is None and not (separator and re.fullmatch(r"[a-z0-9._-]+-\d+", name)):
                general = line
        return general


def _read_lines(descriptor: int) -> list[str]:
    try:
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_DESCRIPTOR_MAX_BYTES)
        return [line for line in data.decode().splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise AskPerson("argument-invalid", argument="passphrase descriptor", detail=type(error).__name__) from error
