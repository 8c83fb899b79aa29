"""A model in Ollama's store: `manifests/<host>/<namespace>/<model>/<tag>` names blobs by digest.

A manifest is text from outside. No path is built from it but `blobs/sha256-` and 64 hexadecimal digits, and a blob is
taken only if it lies there itself (no link) with the size and the SHA-256 that the manifest says.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson
from modelota.repository.model_card import Card, plain
from modelota.spec.limits import FILE_MAX_BYTES, KIB, MIB

_MANIFEST_MAX_BYTES: Final = MIB
_MANIFESTS_MAX: Final = 10_000
_LEVELS: Final = 4  # host, namespace, model, tag
_PLACE: Final = ("registry.ollama.ai", "library")  # what a short name leaves out
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_PREFIX: Final = "application/vnd.ollama.image."
_NAMES: Final = {
    "model": "model.gguf",
    "projector": "mmproj.gguf",
    "template": "template.txt",
    "system": "system.txt",
    "params": "params.json",
    "license": "LICENSE",
    "messages": "messages.json",
}


class _Layer(msgspec.Struct, frozen=True):
    media_type: Annotated[str, Meta(max_length=256)] = msgspec.field(name="mediaType")
    digest: Annotated[str, Meta(max_length=128)]
    size: Annotated[int, Meta(ge=0, le=FILE_MAX_BYTES)]


class _Manifest(msgspec.Struct, frozen=True):
    layers: Annotated[tuple[_Layer, ...], Meta(min_length=1, max_length=256)]


class StoredModel(NamedTuple):
    """A model of the store: its name there, its files by their paths in a release, and what its texts say."""

    name: str
    files: dict[str, Path]
    card: Card


def find(store: Path, name: str | None) -> StoredModel:
    """Find the files of the model `name` (`llama3.2:1b`) in `store`; None is the only one there is.

    Raises:
        AskPerson: `import-choice` (several), `import-refused` with `no-such-model`, `manifest-invalid`, `blob-missing`,
            `blob-mismatch`, or `not-a-model` (what it is made of is no GGUF file).
        OSError: reading fails.
    """
    known = _manifests(store)
    if name is not None:
        wanted = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        known = {key: path for key, path in known.items() if wanted in {key, _short(key)}}
    if not known:
        raise AskPerson("import-refused", path=str(store), detail="no-such-model")
    if len(known) > 1:
        shown = ", ".join(plain(_short(key)) for key in sorted(known)[:20])
        raise AskPerson("import-choice", path=str(store), models=shown)
    ((key, path),) = known.items()
    files: dict[str, Path] = {}
    card = Card()
    for layer in _read(path).layers:
        kind = layer.media_type.removeprefix(_PREFIX)
        if kind != "adapter" and kind not in _NAMES:
            continue
        blob = _blob(store, layer, path)
        number = sum(name.startswith("adapter") for name in files)
        inside = f"adapter-{number + 1}.gguf" if kind == "adapter" else _NAMES[kind]
        if inside in files:  # several licences, one text each
            inside = f"{inside}-{len(files)}"
        files[inside] = blob
        if kind == "license" and not card.licence:
            card = card._replace(licence=_first_line(blob))
        card = card._replace(chat_template=card.chat_template or kind == "template")
    if "model.gguf" not in files:
        raise AskPerson("import-refused", path=str(path), detail="not-a-model")
    return StoredModel(_short(key), files, card._replace(base_model=_short(key)))


def _manifests(store: Path) -> dict[str, Path]:
    """The manifests by the full names of their models. Links are not followed."""
    level = {"": store / "manifests"}
    for _ in range(_LEVELS):
        below: dict[str, Path] = {}
        for key, directory in level.items():
            if stat.S_ISDIR(directory.lstat().st_mode):
                with os.scandir(directory) as entries:
                    below |= {f"{key}/{entry.name}": directory / entry.name for entry in entries}
            if len(below) > _MANIFESTS_MAX:
                raise AskPerson("import-refused", path=str(store), detail="too-many-files")
        level = below
    found = {key.removeprefix("/"): path for key, path in level.items() if stat.S_ISREG(path.lstat().st_mode)}
    return {":".join(key.rsplit("/", 1)): path for key, path in found.items()}


def _short(key: str) -> str:
    host, namespace, rest = key.split("/", 2)
    if host != _PLACE[0]:
        return key
    return rest if namespace == _PLACE[1] else f"{namespace}/{rest}"


def _read(path: Path) -> _Manifest:
    with path.open("rb") as file:
        data = file.read(_MANIFEST_MAX_BYTES + 1)
    if len(data) > _MANIFEST_MAX_BYTES:
        raise AskPerson("import-refused", path=str(path), detail="json-too-large")
    try:
        return msgspec.json.decode(data, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AskPerson("import-refused", path=str(path), detail="manifest-invalid") from error


def _blob(store: Path, layer: _Layer, manifest: Path) -> Path:
    digest = _DIGEST.fullmatch(layer.digest)
    if digest is None:
        raise AskPerson("import-refused", path=str(manifest), detail="manifest-invalid")
    blob = store / "blobs" / f"sha256-{digest[1]}"
    try:
        # no link: one in a store from elsewhere could lead to any file of this machine
        descriptor = os.open(blob, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise AskPerson("import-refused", path=str(blob), detail="blob-missing") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        information = os.fstat(file.fileno())
        sound = stat.S_ISREG(information.st_mode) and information.st_size == layer.size
        if not sound or hashlib.file_digest(file, "sha256").hexdigest() != digest[1]:
            raise AskPerson("import-refused", path=str(blob), detail="blob-mismatch")
    return blob


def _first_line(blob: Path) -> str:
    with blob.open("rb") as file:
        text = file.read(4 * KIB).decode("utf-8", "replace")
    return plain(next((line for line in text.splitlines() if line.strip()), ""))
