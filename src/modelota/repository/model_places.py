"""Where models lie that others made: a GGUF file, a Hugging Face snapshot, an Ollama store. Nothing is copied.

All of it comes from outside. A link may lead to where a snapshot keeps its blobs and nowhere else, directories that are
links are not entered, and weights that run code when they are loaded (pickles) are not taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from modelota.errors import AskPerson
from modelota.repository import model_card, ollama_store
from modelota.repository.model_card import Card
from modelota.spec import names
from modelota.spec.limits import FILES_MAX

_DEPTH_MAX: Final = 8
_PART: Final = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE | re.DOTALL)
_REVISION: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_CACHE_NAME: Final = re.compile(r"models--(.+)", re.DOTALL)
# Weights in other forms, which a repository keeps beside safetensors.
_OTHER_WEIGHTS: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot", ".onnx", ".tflite")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

Kind = Literal["gguf", "snapshot", "ollama"]


class FoundModel(NamedTuple):
    """A model that can be imported.

    Attributes:
        kind: what it was found in.
        name: what it is called there.
        files: path in a release → place on this disk, in the order of the paths.
        card: what the texts beside the weights say.
    """

    kind: Kind
    name: str
    files: dict[str, Path]
    card: Card


def find_model(source: Path, name: str | None = None) -> FoundModel:
    """Find the files of the model in `source`, whatever that is.

    Args:
        source: a GGUF file (of a split one any part), a directory with GGUF files or a snapshot in Hugging Face's form
            (or the directory of its cache with `snapshots` in it), or an Ollama store.
        name: which model of an Ollama store: `llama3.2:1b`.

    Raises:
        AskPerson: `import-refused`, `import-choice`, `model-unreadable`.
        RefuseContent: `unsafe-path`.
    """
    source = source.absolute()
    try:
        if source.is_file():
            return _in_file(source)
        if (source / "manifests").is_dir() and (source / "blobs").is_dir():
            found = ollama_store.find(source, name)
            return FoundModel("ollama", found.name, dict(sorted(found.files.items())), found.card)
        return _in_directory(_snapshot_of(source))
    except OSError as error:
        place = str(error.filename or source)
        raise AskPerson("model-unreadable", path=place, detail=error.strerror or type(error).__name__) from error


def parts_of(files: dict[str, Path]) -> list[list[str]]:
    """The GGUF files among `files`, those that are parts of one together; the first of each list is what is opened.

    Raises:
        AskPerson: `import-refused` with `part-missing`.
    """
    whole: dict[str, list[str]] = {}
    for path in sorted(path for path in files if path.lower().endswith(".gguf")):
        part = _PART.fullmatch(path)
        whole.setdefault(path if part is None else f"{part[1]}-of-{part[3]}", []).append(path)
    for paths in whole.values():
        numbers = [_PART.fullmatch(path) for path in paths]
        if numbers[0] is not None and [int(part[2]) for part in numbers if part] != [*range(1, int(numbers[0][3]) + 1)]:
            raise AskPerson("import-refused", path=str(files[paths[0]]), detail="part-missing")
    return list(whole.values())


def _in_file(source: Path) -> FoundModel:
    with source.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise AskPerson("import-refused", path=str(source), detail="not-a-model")
    part = _PART.fullmatch(source.name)
    found = [source]
    if part is not None:
        siblings = (f"{part[1]}-{number:05}-of-{part[3]}{source.suffix}" for number in range(1, int(part[3]) + 1))
        found = [place for name in siblings if (place := source.with_name(name)).is_file()]
    return FoundModel("gguf", source.name, {_safe(place.name): place for place in found}, Card())


def _snapshot_of(source: Path) -> Path:
    """The snapshot itself, where `source` is the directory of a model in Hugging Face's cache."""
    snapshots = source / "snapshots"
    if not snapshots.is_dir():
        return source
    revisions = sorted(entry.name for entry in snapshots.iterdir())
    main = source / "refs" / "main"
    if main.is_file():
        with main.open("rb") as file:
            wanted = file.read(64).decode("ascii", "replace").strip()
        if wanted in revisions:
            return snapshots / wanted
    if len(revisions) == 1:
        return snapshots / revisions[0]
    if not revisions:
        raise AskPerson("import-refused", path=str(source), detail="not-a-model")
    raise AskPerson("import-choice", path=str(snapshots), models=", ".join(map(model_card.plain, revisions[:20])))


def _in_directory(source: Path) -> FoundModel:
    roots = [source.resolve(strict=True)]
    cache = source.parent.parent if source.parent.name == "snapshots" else None
    if cache is not None:
        roots.append((cache / "blobs").resolve())
    files: dict[str, Path] = {}
    for place in _walk(source, 1):
        if not any(place.resolve(strict=True).is_relative_to(root) for root in roots):
            raise AskPerson("import-refused", path=str(place), detail="link-outside")
        files[_safe(place.relative_to(source).as_posix())] = place
        if len(files) > FILES_MAX:
            raise AskPerson("import-refused", path=str(source), detail="too-many-files")
    _check_forms(source, files)
    called = _CACHE_NAME.fullmatch(cache.name) if cache is not None else None
    name = model_card.plain(called[1].replace("--", "/") if called is not None else source.name)
    card = model_card.read_card(files)
    if called is not None and _REVISION.fullmatch(source.name):
        card = card.made_from(f"{name} {source.name}")
    if any(path.endswith(".safetensors") for path in files):
        files = {path: place for path, place in files.items() if not path.lower().endswith(_OTHER_WEIGHTS)}
    return FoundModel("snapshot", name, files, card)


def _check_forms(source: Path, files: dict[str, Path]) -> None:
    forms = {Path(path).suffix.lower() for path in files}
    if not forms & {".safetensors", ".gguf"}:
        detail = "pickle-only" if forms.intersection(_PICKLES) else "not-a-model"
        raise AskPerson("import-refused", path=str(source), detail=detail)


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    """Regular files, through links to files but not to directories; names that begin with a dot are left out."""
    with os.scandir(directory) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in found:
        place = directory / entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth == _DEPTH_MAX:
                raise AskPerson("import-refused", path=str(place), detail="too-many-files")
            yield from _walk(place, depth + 1)
        elif place.is_file():
            yield place
        elif entry.is_symlink():  # to a directory, to itself, or to nothing
            raise AskPerson("import-refused", path=str(place), detail="link-outside")
        else:
            raise AskPerson("model-unreadable", path=str(place), detail="not a regular file")


def _safe(path: str) -> str:
    return str(names.safe_path(path))
