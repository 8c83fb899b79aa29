"""A page without an agent: views behind a client whose answers a test writes down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from litestar import Litestar, Request
from litestar.di import Provide
from litestar.testing import TestClient

from modelota.agent.page.app import as_error, static_file, view_handlers
from modelota.agent.page.forms import parse_form
from modelota.agent.page.page import PLACES, Page
from modelota.errors import AskPerson, ModelotaError, error_from
from modelota.i18n import Language
from modelota.spec import api, api_owner, deployment
from modelota.spec.manifest import OsRange, Requires
from modelota.spec.offer import Covers, Offer

T = TypeVar("T")

MODEL = "acme/assistant"
CSRF = "token-of-the-form"
Answers = dict[tuple[str, str], object]


class FakeClient:
    """Answers as it was told to; keeps what it was asked, for a test to look at."""

    def __init__(self, answers: Mapping[tuple[str, str], object]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, str, Any]] = []

    async def ask(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """Give the answer to `(method, path)`; an error is raised, what nobody wrote down is an unknown route."""
        self.asked.append((method, path, body if body is not None else dict(query or {})))
        answer = self.answers.get((method, path))
        if answer is None:
            raise error_from("route-unknown", {"path": path})
        if isinstance(answer, ModelotaError):
            raise answer
        if kind is object:
            return cast("T", answer)
        return msgspec.convert(msgspec.to_builtins(answer), kind)

    def sent(self, method: str, path: str) -> Any:
        """The last body that was sent to a route.

        Raises:
            AssertionError: nothing was.
        """
        found = [body for each, at, body in self.asked if (each, at) == (method, path)]
        assert found, f"{method} {path} was not asked: {self.asked}"
        return found[-1]


def stage(
    client: FakeClient,
    *,
    language: Language = "en",
    rights: frozenset[str] = frozenset({"see", "decide", "remove"}),
) -> TestClient[Litestar]:
    """The views of one signed-in person, in a test's hands."""
    return TestClient(application(client, language=language, rights=rights), base_url="http://127.0.0.1")


def application(
    client: FakeClient, *, language: Language = "en", rights: frozenset[str] = frozenset({"see", "decide", "remove"})
) -> Litestar:
    """All views with a `Page` that speaks to `client`."""
    handlers = view_handlers()
    paths = {path for handler in handlers for path in handler.paths}

    async def page(request: Request[Any, Any, Any]) -> Page:
        form = None
        if request.method == "POST":
            form = parse_form(request.headers.get("content-type", ""), await request.body())
            if form.last().get("csrf") != CSRF:
                raise AskPerson("page-request-refused", detail="form-token")
        return Page(
            client,  # type: ignore[arg-type]  # it has the one method that pages use
            cast("Language", request.query_params.get("speak", language)),
            request.url.path,
            rights=rights,
            authority="uid:1000",
            csrf=CSRF,
            places=tuple(place for place in PLACES if place.path in paths),
            form=form,
            query=request.url.query,
        )

    def fail(request: Request[Any, Any, Any], exception: Exception) -> Any:
        error, status = as_error(exception, request.url.path)
        speaker = Page(client, language, request.url.path)  # type: ignore[arg-type]
        return speaker.fail(error, status)

    return Litestar(
        route_handlers=[*handlers, static_file],
        dependencies={
            "page": Provide(page),
            "sessions": Provide(lambda: None, sync_to_thread=False),
            "relay": Provide(lambda: None, sync_to_thread=False),
        },
        exception_handlers={Exception: fail},
        openapi_config=None,
        logging_config=None,
    )


# -- things of the agent's world ---------------------------------------------------------------------------------------


def an_offer(**changes: Any) -> Offer:
    """An update of the assistant; `changes` are fields of the offer."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "direction": "update",
        "from_version": "1.1.1",
        "from_variant": "q8",
        "to_version": "1.1.2",
        "to_variant": "q8",
        "manifest_digest": "ab" * 32,
        "plan_digest": "cd" * 32,
        "mode": "differential",
        "planned_bytes": 38_000_000,
        "ceiling_bytes": 42_000_000,
        "full_bytes": 4_000_000_000,
        "installed_bytes": 4_100_000_000,
        "peak_space_bytes": 4_300_000_000,
        "kind": "fix",
        "notes": {
            "zh-CN": "修正单位换算。\n千米与英里不再混淆；温度换算更准确。",
            "en": "Corrects unit conversion.\nKilometres and miles are no longer mixed up.",
        },
        "permissions": ("microphone",),
        "consequences": ("engine-restarts", "user-data-kept"),
        "covers": Covers(fetch_up_to_bytes=42_000_000, keep_versions=("1.1.1",)),
        "storage_share_percent": 6.2,
    }
    return Offer(**{**fields, **changes})


def a_view(offer: Offer | None = None, **changes: Any) -> api.OfferView:
    """An offer as the agent shows it."""
    offer = offer or an_offer()
    fields: dict[str, Any] = {
        "offer": offer,
        "digest": offer.digest,
        "made_at": "2026-11-24T06:00:00Z",
        "estimate_s": 360.0,
        "estimate_is_guess": False,
        "title": {"zh-CN": "小助手", "en": "Assistant"},
    }
    return api.OfferView(**{**fields, **changes})


def a_model(**changes: Any) -> api.ModelStatus:
    """The assistant, version 1.1.1 in use, nothing under way."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "title": {"zh-CN": "小助手", "en": "Assistant"},
        "phase": "idle",
        "active_version": "1.1.1",
        "active_variant": "q8",
        "previous_version": "1.1.0",
        "last_checked_at": "2026-11-24T06:00:00Z",
        "engine": "running",
    }
    return api.ModelStatus(**{**fields, **changes})


def an_outcome(**changes: Any) -> api.Outcome:
    """The update to 1.1.2, done."""
    fields: dict[str, Any] = {
        "operation": "update",
        "result": "done",
        "from_version": "1.1.1",
        "to_version": "1.1.2",
        "active_version": "1.1.2",
        "error": None,
        "finished_at": "2026-11-24T06:30:00Z",
    }
    return api.Outcome(**{**fields, **changes})


def a_decision(view: api.OfferView, answer: str, **changes: Any) -> api_owner.DecisionView:
    """A standing answer to an offer."""
    fields: dict[str, Any] = {
        "id": 7,
        "model": view.offer.model,
        "offer_digest": view.digest,
        "to_version": view.offer.to_version,
        "answer": answer,
        "authority": "uid:1000",
        "channel": "page",
        "at": "2026-11-24T06:10:00Z",
        "state": "standing",
        "revocable": True,
    }
    return api_owner.DecisionView(**{**fields, **changes})


def a_release(view: api.OfferView, **changes: Any) -> api_owner.ReleaseAbout:
    """What stands behind an offer."""
    fields: dict[str, Any] = {
        "offer_digest": view.digest,
        "model": view.offer.model,
        "version": view.offer.to_version,
        "variant": view.offer.to_variant,
        "released_at": "2026-11-20T08:00:00Z",
        "runtime": "llama.cpp",
        "requires": Requires(memory_bytes=6_000_000_000, os=(OsRange(family="linux", min_version="6.1"),)),
        "device_models": ("hub-3",),
        "manifest_digest": view.offer.manifest_digest,
        "from_url": "https://mirror.example.org/",
        "signed_by": ("67a1c48bfedb7ed3a3755fd989044a5f93c23217974172d2ea45d099bedc6926",),
    }
    return api_owner.ReleaseAbout(**{**fields, **changes})


def answers_of(
    model: api.ModelStatus,
    *,
    decisions: tuple[api_owner.DecisionView, ...] = (),
    notices: tuple[api_owner.Notice, ...] = (),
    reports: tuple[deployment.ReportEntry, ...] = (),
) -> Answers:
    """What an agent with that model answers to what the main views ask."""
    status = api.Status(
        api=1,
        agent_version="0.5.0",
        root="/var/lib/modelota",
        supervisor=True,
        repository_url="https://models.example.org/",
        device_class="hub-a",
        models=(model,),
    )
    about = api_owner.ModelAbout(model=model.model, title={"zh-CN": "小助手", "en": "Assistant"})
    answers: Answers = {
        ("GET", "/v1/status"): status,
        ("GET", "/v1/decisions"): api_owner.DecisionsPage(decisions=decisions),
        ("GET", "/v1/notices"): api_owner.NoticesPage(notices=notices),
        ("GET", "/v1/about"): about,
        ("GET", "/v1/reports"): deployment.ReportsPage(model=model.model, reports=reports),
        ("POST", "/v1/shown"): {},
        ("POST", "/v1/decisions"): model,
    }
    answers |= {("POST", f"/v1/notices/{each.id}"): {} for each in notices}
    if model.offer is not None:
        answers["GET", f"/v1/offers/{model.offer.digest}"] = model.offer
        answers["GET", f"/v1/offers/{model.offer.digest}/about"] = a_release(model.offer)
    return answers
