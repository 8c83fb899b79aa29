"""How signed documents are written and read (design decision 13).

Every document is a JSON object with `format` (an integer) and `critical` (names of fields a reader must understand).
A reader ignores fields it does not know unless `critical` names them; then it refuses the document and says so.
Canonical bytes are UTF-8 JSON with sorted keys and no white space; digests are taken over those.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, ClassVar, TypeVar, get_args

import msgspec

from modelota.errors import RefuseContent


class Document(msgspec.Struct, kw_only=True, frozen=True):
    """Base of the signed documents.

    Attributes:
        format: number of the document's format; a reader refuses a higher one than it knows.
        critical: dotted names of fields (`variants.at_rest`) that a reader must understand to use the document.
    """

    NAME: ClassVar[str] = "document"
    FORMAT: ClassVar[int] = 1

    format: int = 1
    critical: tuple[str, ...] = ()


D = TypeVar("D", bound=Document)


def canonical(value: object) -> bytes:
    """The canonical bytes of a document or of a part of one."""
    return msgspec.json.encode(value, order="sorted")


def digest_of(value: object) -> str:
    """SHA-256, in hexadecimal, of the canonical bytes of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def read(data: bytes, kind: type[D], limit_bytes: int, *, strict: bool = False) -> D:
    """Decode a document of `kind` from JSON.

    Args:
        data: the bytes, already authenticated.
        kind: the document class.
        limit_bytes: the most bytes it may have.
        strict: refuse every unknown field, not only critical ones.

    Raises:
        RefuseContent: `document-too-large`, `document-needs-newer` (a higher format, or a critical field this reader
            does not know), `document-invalid` (not JSON, wrong types, values out of range).
    """
    if len(data) > limit_bytes:
        raise RefuseContent("document-too-large", document=kind.NAME, limit_bytes=limit_bytes, found_bytes=len(data))
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format > kind.FORMAT:
            raise RefuseContent("document-needs-newer", document=kind.NAME, field=f"format {head.format}")
        known = known_fields(kind)
        for name in head.critical:
            if name not in known:
                raise RefuseContent("document-needs-newer", document=kind.NAME, field=name[:200])
        document = msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise RefuseContent("document-invalid", document=kind.NAME, detail=str(error)[:300]) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RefuseContent("document-invalid", document=kind.NAME, detail=type(error).__name__) from error
    if strict:
        _refuse_unknown(msgspec.json.decode(data), known_fields(kind), "", kind.NAME)
    return document


class _Head(msgspec.Struct, frozen=True):
    format: int
    critical: tuple[str, ...] = ()


@cache
def known_fields(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Dotted names of all fields of `kind` and of the structs inside it; containers do not add a level."""
    names: set[str] = set()

    def visit(struct: type[msgspec.Struct], prefix: str) -> None:
        for field in msgspec.structs.fields(struct):
            name = prefix + field.encode_name
            names.add(name)
            for inner in _structs_in(field.type):
                visit(inner, name + ".")

    visit(kind, "")
    return frozenset(names)


def _structs_in(annotation: Any) -> list[type[msgspec.Struct]]:  # noqa: ANN401  an annotation has no narrower type
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [struct for argument in get_args(annotation) for struct in _structs_in(argument)]


def _refuse_unknown(value: object, known: frozenset[str], prefix: str, document: str) -> None:
    if isinstance(value, dict):
        has_fields = any(name.startswith(prefix) for name in known)
        for key, inner in value.items():
            name = f"{prefix}{key}"
            if has_fields and name not in known:
                raise RefuseContent("document-invalid", document=document, detail=f"unknown field {name[:100]}")
            _refuse_unknown(inner, known, name + ".", document)
    elif isinstance(value, list):
        for inner in value:
            _refuse_unknown(inner, known, prefix, document)
