"""What a model file is made of, as far as its format says: the part of a manifest that releases are compared by.

Tensors of layers differ only in a number, so they are listed by group: `blk.#.attn_q.weight` × 32. That keeps the list
short (a dozen groups for a hundred layers) and is all that the rules of clause 6.1-b need.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

GROUPS_MAX: Final = 4096
VALUES_MAX: Final = 512
VALUE_MAX_CHARS: Final = 256

Key = Annotated[str, Meta(max_length=256)]
Scalar = Annotated[str, Meta(max_length=VALUE_MAX_CHARS)] | int | float | bool


class TensorGroup(msgspec.Struct, frozen=True, array_like=True):
    """Tensors that differ only in the numbers of their names: the name with `#` for each, dtype, shape, how many."""

    name: Key
    dtype: Annotated[str, Meta(max_length=32)]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=64)]
    count: Annotated[int, Meta(ge=1)] = 1


class FileStructure(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a format knows.

    Attributes:
        path: in the release.
        format: its name: `gguf`, `safetensors`, `json`, …
        parameters: values in all tensors together.
        tensors: by group, in the order of their names; the first `GROUPS_MAX`.
        values: what the header says about the model in single values: `llama.block_count`, `general.architecture`.
        tables: digests (BLAKE3) of what it says in lists and long texts: vocabularies, chat templates.
    """

    path: Annotated[str, Meta(max_length=512)]
    format: Annotated[str, Meta(max_length=64)]
    parameters: Annotated[int, Meta(ge=0)] = 0
    tensors: Annotated[tuple[TensorGroup, ...], Meta(max_length=GROUPS_MAX)] = ()
    values: Annotated[dict[Key, Scalar], Meta(max_length=VALUES_MAX)] = {}
    tables: Annotated[dict[Key, Annotated[str, Meta(max_length=64)]], Meta(max_length=VALUES_MAX)] = {}
