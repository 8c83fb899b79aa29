"""Whatever a request holds, the answer is an answer or an error with a code: never a bug of ours or an exception."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.openapi import document
from modelota.agent.routes import ROUTES
from modelota.agent.supervisor import Supervisor
from modelota.agent.worker_link import WorkerLink
from modelota.clock import SystemClock
from modelota.errors import CODES, TryLater
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.runtime.messages import PeerCredentials, Request, Response
from modelota.spec.api import ErrorBody

ROOT = PeerCredentials(pid=1, uid=0, gid=0)
SCHEMAS: dict[str, Any] = document(ROUTES)["components"]["schemas"]

TEXT = st.text(max_size=40) | st.sampled_from(
    ["acme/assistant", "../..", "\0", "1.1.1", "5a" * 32, "/", "2026-13-99T99:99:99Z"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def value_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema asks for, more often than not."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(value_of, schema["anyOf"]))
    if schema.get("type") == "array":
        return st.lists(value_of(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=3)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "boolean": st.booleans(),
        "integer": st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)),
        "null": st.none(),
        "string": TEXT,
    }
    return kinds.get(schema.get("type", ""), JSON)


def body_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[bytes]:
    """Bodies with the fields of `kind`, and bodies of anything."""
    fields = {
        name: value_of(schema) if number % 8 else JSON
        for number, (name, schema) in enumerate(SCHEMAS[kind.__name__]["properties"].items(), start=1)
    }
    required = {name: fields.pop(name) for name in SCHEMAS[kind.__name__].get("required", ())}
    likely = st.fixed_dictionaries(required, optional=fields)
    return (likely | JSON).map(msgspec.json.encode) | st.binary(max_size=40)


REQUESTS = st.one_of(
    *(
        st.builds(
            lambda body, query, rest, method=method, path=path: Request(
                method=method,
                path=path.replace("{digest}", rest).replace("{id}", rest),
                query=query,
                body=body,
                peer=ROOT,
            ),
            body_of(row.request) if row.request is not None else st.just(b""),
            st.dictionaries(st.sampled_from([*row.query.__struct_fields__, "surprise"]), TEXT, max_size=3),
            TEXT.filter(lambda text: "/" not in text),
        )
        for (method, path), row in ROUTES.items()
        if row.call is not None
    )
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An enrolled device of two models."""
    init(tmp_path / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=("acme/assistant",), dev=True)
    enrol(tmp_path / "enroll.toml", tmp_path / "device", SystemClock())
    return tmp_path / "device"


def test_every_answer_is_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies, parameters and paths of any kind: the codes are of the tree, and none is `our-bug`."""

    async def run(*_: object, **__: object) -> bytes:
        raise TryLater("worker-crashed", job="x", status=9)

    monkeypatch.setattr(WorkerLink, "run", run)
    with asyncio.Runner() as runner:
        core = runner.run(Core.open(root))

        @settings(
            max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(REQUESTS)
        def ask(request: Request) -> None:
            reply = runner.run(Supervisor(core).handle(request))
            assert isinstance(reply, Response)
            if reply.status >= 300:
                error = msgspec.json.decode(reply.body, type=ErrorBody)
                assert CODES[error.code] != "our-bug", (request, error)
            assert reply.status != 500, request

        try:
            ask()
        finally:
            runner.run(core.aclose())
