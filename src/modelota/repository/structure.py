"""What a variant's files are made of, from their layouts and from the configuration beside them (`spec.structure`)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final

from modelota.content.digest import digest_bytes
from modelota.content.formats.elements import OPAQUE
from modelota.content.formats.layout import Layout, TensorSpan
from modelota.repository.description import SourceVariant
from modelota.repository.scan import ScannedFile
from modelota.spec.limits import MIB
from modelota.spec.structure import GROUPS_MAX, VALUE_MAX_CHARS, VALUES_MAX, FileStructure, Scalar, TensorGroup

_NUMBERS: Final = re.compile(r"(?<![0-9])[0-9]+(?![0-9])")
_KEY_MAX_CHARS: Final = 256
CONFIGURATION_MAX_BYTES: Final = MIB
# Of a snapshot in Hugging Face's form: what the model is, and how it speaks. Others (indexes, licences) tell nothing.
CONFIGURATIONS: Final = frozenset({"config.json", "adapter_config.json", "tokenizer_config.json"})
_WHOLE: Final = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja"})
_DEPTH_MAX: Final = 3


def structure_of(variant: SourceVariant, scanned: Mapping[Path, ScannedFile]) -> tuple[FileStructure, ...]:
    """What is known about the files of a variant, in the order of their paths.

    Raises:
        AskPerson: `model-unreadable`.
    """
    return tuple(
        found for path, place in variant.files if (found := _structure(path, place, scanned[place])) is not None
    )


def _structure(path: str, place: Path, file: ScannedFile) -> FileStructure | None:
    name = path.rpartition("/")[2]
    if file.layout.format != OPAQUE:
        return structure_of_layout(path, file.layout)
    if name in CONFIGURATIONS and file.size_bytes <= CONFIGURATION_MAX_BYTES:
        return structure_of_configuration(path, place)
    if name in _WHOLE:
        return FileStructure(path=path, format="text", tables={"content": file.digest})
    return None


def structure_of_layout(path: str, layout: Layout) -> FileStructure:
    """What the layout of the file at `path` in a release says."""
    groups = Counter((group_name(span.name), span.dtype, span.shape) for span in layout.tensors)
    return FileStructure(
        path=path,
        format=layout.format,
        parameters=sum(values_in(span) for span in layout.tensors),
        tensors=tuple(
            TensorGroup(name[:_KEY_MAX_CHARS], dtype, shape, count)
            for (name, dtype, shape), count in sorted(groups.items())[:GROUPS_MAX]
        ),
        values=dict(sorted(layout.values)[:VALUES_MAX]),
        tables=dict(sorted(layout.tables)[:VALUES_MAX]),
    )


def group_name(name: str) -> str:
    """The name of a tensor with `#` for each number: `blk.12.attn_q.weight` is one of `blk.#.attn_q.weight`."""
    return _NUMBERS.sub("#", name)


def values_in(span: TensorSpan) -> int:
    """How many values a tensor has: what its shape says."""
    return prod(span.shape)


def structure_of_configuration(path: str, place: Path) -> FileStructure | None:
    """What a configuration of at most `CONFIGURATION_MAX_BYTES` says; None if it is no JSON object."""
    try:
        found = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # what cannot be read is a file like any other; the second reading tells of a disk that fails
    if not isinstance(found, dict):
        return None
    values: dict[str, Scalar] = {}
    tables: dict[str, str] = {}
    for key, value in _flat(found, "", 1):
        if len(key) > _KEY_MAX_CHARS or len(values) + len(tables) >= VALUES_MAX:
            continue
        if _is_scalar(value):
            values[key] = value
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            tables[key] = digest_bytes(text.encode("utf-8", "surrogatepass"))
    return FileStructure(path=path, format="json", values=values, tables=tables)


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= VALUE_MAX_CHARS)


def _flat(found: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in sorted(found.items()):
        name = f"{prefix}{key}"
        if isinstance(value, dict) and depth < _DEPTH_MAX:
            yield from _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            yield name, value[0]  # `architectures`
        else:
            yield name, value
