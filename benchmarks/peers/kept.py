"""Rounds that were measured already: a run of all pairs takes hours, and can be stopped and gone on with.

A round counts again as long as nothing changed that it depends on: the two files, the method and what it is made of,
the number of cores. Sizes and digests stay true for ever; speeds are those of the machine as it was then, which is why
every figure says in which run it was measured.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

from peers.measuring import Cost, Measured
from peers.methods import Method

_CODE: Final = frozenset({".py", ".c", ".so", ""})  # "" is a program


class Kept:
    """The rounds in a folder.

    Args:
        folder: made when missing; None keeps nothing.
        cores: how many each method may use.
    """

    def __init__(self, folder: Path | None, *, cores: int) -> None:
        self._folder = folder
        self._cores = cores

    def find(self, pair: str, method: Method, base: Path, target: Path) -> Measured:
        """What is known already; an empty one when nothing is, or when it was of something else."""
        path = self._path(pair, method)
        if path is None or not path.exists():
            return Measured(error=method.missing)
        kept = json.loads(path.read_text(encoding="utf-8"))
        if method.missing or kept.pop("of") != self._of(method, base, target):
            return Measured(error=method.missing)
        return measured_from(kept)

    def keep(self, pair: str, method: Method, base: Path, target: Path, measured: Measured) -> None:
        """Remember the rounds so far, atomically; a failure is not remembered."""
        path = self._path(pair, method)
        if path is None or measured.error:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        document = {"of": self._of(method, base, target)} | asdict(measured)
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
        part.replace(path)

    def _path(self, pair: str, method: Method) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{pair}.{re.sub('[^a-z0-9]+', '-', method.name.lower()).strip('-')}.json"

    def _of(self, method: Method, base: Path, target: Path) -> str:
        parts = (
            method.name,
            str(self._cores),
            fingerprint(base),
            fingerprint(target),
            *map(fingerprint, method.made_of),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def measured_from(fields: dict[str, Any]) -> Measured:
    """A `Measured` from its JSON."""
    costs = {name: [Cost(**cost) for cost in fields.pop(name)] for name in ("encoded", "applied")}
    return Measured(**fields, **costs)


@cache
def fingerprint(path: Path) -> str:
    """Of a file, or of the code below a directory."""
    found = hashlib.sha256()
    for file in [path] if path.is_file() else _code_below(path):
        found.update(str(file.relative_to(path.parent)).encode())
        with file.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def _code_below(directory: Path) -> Iterator[Path]:
    for file in sorted(directory.rglob("*")):
        if file.is_file() and file.suffix in _CODE and "__pycache__" not in file.parts:
            yield file
