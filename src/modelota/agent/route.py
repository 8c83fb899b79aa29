"""What a row of the socket interface is (`modelota.agent.routes`), and what its call is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from modelota.agent.core import Core
from modelota.runtime.messages import PeerCredentials
from modelota.spec.api_owner import Right
from modelota.spec.api_query import NoQuery


class Asked(NamedTuple):
    """One request, checked as far as its row says.

    Attributes:
        body: of the row's `request` type; None when the row has none.
        query: of the row's `query` type.
        rest: the part of the path that stands for `{…}`.
        authority: who asks, as the journal names them.
        peer: who asks, as the kernel says; None from an embedding host.
    """

    body: Any
    query: Any
    rest: str
    authority: str
    peer: PeerCredentials | None = None


Call = Callable[[Core, Asked], Any]  # the answer, or an awaitable of it


class Route(NamedTuple):
    """One row of the interface.

    Attributes:
        right: who may use it.
        summary: what it is for, in a sentence.
        answer: type of the answer.
        call: what it does; None: the supervisor itself serves it, as a stream of `answer`.
        request: type of the body; None: a body is not looked at.
        query: type of the parameters.
        decide_if: fields of the body each of which, when it is set, makes the request a decision.
    """

    right: Right
    summary: str
    answer: Any
    call: Call | None
    request: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] = NoQuery
    decide_if: tuple[str, ...] = ()
