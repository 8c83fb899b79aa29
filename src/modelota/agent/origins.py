"""Where a manifest came from and who signed for it, kept when it was pinned: metadata and keys change later."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from modelota.agent.journal import Journal
from modelota.errors import AskPerson


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside a pinned manifest.

    Attributes:
        from_url: the place it was read from, without a password.
        signed_by: ids of the keys whose signatures were verified; empty when they could not be told.
        at: when.
    """

    from_url: str
    signed_by: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    at: str


def keep_origin(journal: Journal, manifest_digest: str, origin: Origin) -> None:
    """Keep where a manifest came from; what is known already stays: the manifest is the same."""
    known = origin_of(journal, manifest_digest)
    if known is None or (not known.signed_by and origin.signed_by):
        journal.set_fact(_key(manifest_digest), msgspec.json.encode(origin))


def origin_of(journal: Journal, manifest_digest: str) -> Origin | None:
    """Where a manifest came from; None for one that came with the device, or with an agent that kept no such record.

    Raises:
        AskPerson: `database-unreadable`.
    """
    data = journal.fact(_key(manifest_digest))
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Origin)
    except msgspec.MsgspecError as error:
        raise AskPerson("database-unreadable", path="agent.db", detail=str(error)[:200]) from error


def _key(manifest_digest: str) -> str:
    return f"origin {manifest_digest}"
