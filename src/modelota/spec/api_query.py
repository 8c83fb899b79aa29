"""Query parameters of the agent's socket: what stands behind `?` in a request, per route or family of routes.

A part of `modelota.spec.api`, whose rules hold here. A parameter that is not known is refused.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from modelota.spec.api import Channel

SEQUENCE_MAX = 2**63 - 1

Sequence = Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route without parameters."""


class ModelQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`?model=`; left out means the only one that the device is enrolled for."""

    model: str | None = None


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/log`: entries of one model or of all, after `seq` `after`, at most `limit`.

    With `before` the newest ones before that `seq` instead: for who reads backwards.
    """

    model: str | None = None
    after: Sequence = 0
    before: Sequence | None = None
    limit: Sequence = 200


class ReportsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/reports`: the newest `limit` of a model."""

    model: str | None = None
    limit: Sequence = 1


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/events`: the id of the last event seen; the header `Last-Event-ID` goes before it."""

    after: Sequence | None = None


class NoticesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/notices`: those after `id` `after`, at most `limit`.

    With `all` also those that are not due or do not stand; with `untold` only those that who asks was not shown yet.
    """

    after: Sequence = 0
    limit: Sequence = 100
    all: bool = False
    untold: bool = False


class PageSessionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/page/sessions/{id}`: the user whose browser uses it; left out where the kernel does not tell."""

    peer_uid: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/cleaning/findings` and `…/removals`: entries from number `after` on, at most `limit`."""

    after: Sequence = 0
    limit: Sequence = 200


class DecisionsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `GET /v1/decisions`: the newest `limit` of one model or of all."""

    model: str | None = None
    limit: Sequence = 100


class RevokeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `DELETE /v1/decisions/{id}`: where its user takes the answer back."""

    channel: Channel = "socket"
