"""The routes of the socket interface, version 1 (`docs/socket-api.md`): `ROUTES` is the whole of it.

What a row says is all there is: who may ask, the types of body, parameters and answer, and the call. `answering` checks
and carries requests out by it, `openapi` describes it, and tests compare it with the documentation.
"""

from __future__ import annotations

from typing import Any, Final

from modelota.agent import about, asking, deciding, listing, removal, user_data_asking
from modelota.agent.core import Core
from modelota.agent.report_table import REPORTS_KEPT
from modelota.agent.route import Asked, Route
from modelota.spec import api, api_life
from modelota.spec.api_cleaning import CleaningView, FindingsPage, RemovalsPage
from modelota.spec.api_owner import (
    CleaningAccept,
    CleaningRequest,
    DecisionsPage,
    DecisionView,
    ModelAbout,
    Notice,
    NoticesPage,
    NoticeTold,
    PageLink,
    PageRequest,
    ReleaseAbout,
    SessionRequest,
    SessionView,
)
from modelota.spec.api_query import (
    DecisionsQuery,
    EventsQuery,
    LogQuery,
    ModelQuery,
    NoticesQuery,
    PageQuery,
    PageSessionQuery,
    ReportsQuery,
    RevokeQuery,
)
from modelota.spec.deployment import ReportsPage
from modelota.spec.removal import RemovalProof

EVENTS_PATH: Final = "/v1/events"


def _log(core: Core, asked: Asked) -> api.LogPage:
    query = asked.query
    if query.before is not None:
        return api.LogPage(entries=core.journal.last_entries(query.model, query.limit, before=query.before))
    return api.LogPage(entries=core.journal.log(query.model, query.after, query.limit))


def _shown(core: Core, asked: Asked) -> dict[str, Any]:
    asking.shown(core, asked.body, authority=asked.authority)
    return {}


def _leave_page(core: Core, asked: Asked) -> dict[str, Any]:
    core.page.sessions.end(asked.rest)
    return {}


def _openapi(_core: Core, _asked: Asked) -> dict[str, Any]:
    from modelota.agent.openapi import document  # noqa: PLC0415  takes memory only when somebody asks for it

    return document(ROUTES)


def _reports(core: Core, asked: Asked) -> ReportsPage:
    loop = core.loop(asked.query.model)
    limit = max(1, min(asked.query.limit, REPORTS_KEPT))
    return ReportsPage(model=loop.model, reports=core.journal.reports.reports(loop.model, limit))


def _self_tests(core: Core, asked: Asked) -> list[api.SelfTestEntry]:
    records = core.journal.self_tests(core.loop(asked.query.model).model)
    return [api.SelfTestEntry(slot=slot, at=at, record=record) for slot, at, record in records]


ROUTES: Final[dict[tuple[str, str], Route]] = {
    ("GET", "/v1/status"): Route(
        "see",
        "Everything at a glance: per model the phase, versions, progress, offer, last outcome and engine.",
        api.Status,
        lambda core, _: core.status(),
    ),
    ("POST", "/v1/check"): Route(
        "see",
        "Look for news now.",
        list[api.CheckResult],
        lambda core, asked: asking.check(core, asked.body, authority=asked.authority),
        request=api.CheckRequest,
        decide_if=("allow_stale", "place"),
    ),
    ("GET", "/v1/offers/{digest}"): Route(
        "see",
        "One offer with what lies beside it.",
        api.OfferView,
        lambda core, asked: deciding.offer(core, asked.rest),
    ),
    ("GET", "/v1/offers/{digest}/about"): Route(
        "see",
        "What stands behind an offer: requirements, provenance, where from, who signed.",
        ReleaseAbout,
        lambda core, asked: about.release_about(core, asked.rest),
    ),
    ("GET", "/v1/about"): Route(
        "see",
        "What the version in use is and can do, as its signed manifest says.",
        ModelAbout,
        lambda core, asked: about.model_about(core, asked.query.model),
        query=ModelQuery,
    ),
    ("POST", "/v1/shown"): Route(
        "see",
        "Record that a person was shown an offer, in which words.",
        dict[str, Any],
        _shown,
        request=api.ShownRequest,
    ),
    ("POST", "/v1/decisions"): Route(
        "decide",
        "Answer exactly one offer, as its user decided.",
        api.ModelStatus,
        lambda core, asked: deciding.decide(core, asked.body, authority=asked.authority),
        request=api.DecisionRequest,
    ),
    ("GET", "/v1/decisions"): Route(
        "see",
        "What was answered, by whom and where, newest first, and how each answer stands.",
        DecisionsPage,
        lambda core, asked: deciding.decisions(core, asked.query),
        query=DecisionsQuery,
    ),
    ("DELETE", "/v1/decisions/{id}"): Route(
        "decide",
        "Take an answer back, whoever gave it; that to an update until it activates.",
        DecisionView,
        lambda core, asked: deciding.revoke(core, asked.rest, asked.query, authority=asked.authority),
        query=RevokeQuery,
    ),
    ("POST", "/v1/pause"): Route(
        "decide",
        "Pause the update under way; what was fetched is kept.",
        api.ModelStatus,
        lambda core, asked: asking.control(core, "pause", asked.body, authority=asked.authority),
        request=api.ControlRequest,
    ),
    ("POST", "/v1/resume"): Route(
        "decide",
        "Let a paused update go on.",
        api.ModelStatus,
        lambda core, asked: asking.control(core, "resume", asked.body, authority=asked.authority),
        request=api.ControlRequest,
    ),
    ("POST", "/v1/cancel"): Route(
        "decide",
        "End the update under way; possible until activation, and nothing of it stays.",
        api.ModelStatus,
        lambda core, asked: asking.control(core, "cancel", asked.body, authority=asked.authority),
        request=api.ControlRequest,
    ),
    ("POST", "/v1/rollback"): Route(
        "decide",
        "Go back to an earlier version: at once from a kept slot, else by an offer to fetch it.",
        api.RollbackResult,
        lambda core, asked: asking.roll_back(core, asked.body, authority=asked.authority),
        request=api.RollbackRequest,
    ),
    ("POST", "/v1/inhibitors"): Route(
        "decide",
        "Keep updates waiting before the steps that are named.",
        api_life.InhibitorView,
        lambda core, asked: core.gates.inhibit(asked.body, asked.authority),
        request=api_life.InhibitorRequest,
    ),
    ("GET", "/v1/inhibitors"): Route(
        "see",
        "The inhibitors that are held now.",
        api_life.InhibitorsPage,
        lambda core, _: api_life.InhibitorsPage(inhibitors=core.gates.inhibitors()),
    ),
    ("DELETE", "/v1/inhibitors/{id}"): Route(
        "decide",
        "Let updates go on.",
        api_life.InhibitorView,
        lambda core, asked: core.gates.release(asked.rest, asked.authority),
    ),
    ("POST", "/v1/conditions"): Route(
        "decide",
        "Tell what the host knows better than the device: charging, unmetered, parked.",
        api_life.ConditionsPage,
        lambda core, asked: core.gates.tell(asked.body),
        request=api_life.ConditionsRequest,
    ),
    ("GET", "/v1/conditions"): Route(
        "see",
        "Per condition whether it holds.",
        api_life.ConditionsPage,
        lambda core, _: core.gates.conditions(),
    ),
    ("POST", "/v1/verify"): Route(
        "see",
        "Read every installed version for damage; with `repair`, mend the first that is damaged.",
        api_life.VerifyResult,
        lambda core, asked: asking.verify(core, asked.body, authority=asked.authority),
        request=api_life.VerifyRequest,
        decide_if=("repair",),
    ),
    ("POST", "/v1/removal/plan"): Route(
        "see",
        "What uninstalling the model would remove, and what stays; removes nothing.",
        api_life.RemovalPlanView,
        lambda core, asked: removal.plan(core, asked.body),
        request=api_life.RemovalPlanRequest,
    ),
    ("POST", "/v1/removal"): Route(
        "remove",
        "Uninstall what the plan with this digest lists, as its owner confirmed.",
        api.ModelStatus,
        lambda core, asked: removal.uninstall(core, asked.body, authority=asked.authority),
        request=api_life.RemovalRequest,
    ),
    ("GET", "/v1/removals/{digest}"): Route(
        "see",
        "The proof of a removal plan that was carried out.",
        RemovalProof,
        lambda core, asked: removal.proof(core, asked.rest),
    ),
    ("GET", "/v1/reports"): Route(
        "see",
        "What finished operations did, newest first.",
        ReportsPage,
        _reports,
        query=ReportsQuery,
    ),
    ("POST", "/v1/backup"): Route(
        "decide",
        "Write the user's data of a model to one new encrypted file.",
        api_life.BackupResult,
        lambda core, asked: user_data_asking.back_up(core, asked.body, authority=asked.authority),
        request=api_life.BackupRequest,
    ),
    ("POST", "/v1/restore"): Route(
        "decide",
        "Put the data of a backup in place; what lies there now is kept beside.",
        api_life.RestoreResult,
        lambda core, asked: user_data_asking.take_back(core, asked.body, authority=asked.authority),
        request=api_life.BackupRequest,
    ),
    ("GET", "/v1/versions"): Route(
        "see",
        "The versions that the device has or can have, newest first.",
        api.VersionsPage,
        lambda core, asked: listing.versions(core, asked.query.model),
        query=ModelQuery,
    ),
    ("GET", "/v1/log"): Route(
        "see",
        "The journal, oldest first.",
        api.LogPage,
        _log,
        query=LogQuery,
    ),
    ("GET", "/v1/self-tests"): Route(
        "see",
        "The records of the last self-tests, newest last.",
        list[api.SelfTestEntry],
        _self_tests,
        query=ModelQuery,
    ),
    ("GET", EVENTS_PATH): Route(
        "see",
        "What happens, as it happens: a stream of server-sent events that goes on after `Last-Event-ID`.",
        api.Event,
        None,
        query=EventsQuery,
    ),
    ("GET", "/v1/notices"): Route(
        "see",
        "What the user is to be told of, oldest first: what is due and stands.",
        NoticesPage,
        lambda core, asked: core.notices.page(asked.query, authority=asked.authority),
        query=NoticesQuery,
    ),
    ("POST", "/v1/notices/{id}"): Route(
        "see",
        "Note that a person was shown a notice; with `dismiss`, that they put it away.",
        Notice,
        lambda core, asked: core.notices.tell(asked.rest, asked.body, authority=asked.authority),
        request=NoticeTold,
        decide_if=("dismiss",),
    ),
    ("GET", "/v1/cleaning"): Route(
        "see",
        "How the search for residues, or their removal, stands.",
        CleaningView,
        lambda core, _: core.cleaning.view(),
    ),
    ("POST", "/v1/cleaning/scan"): Route(
        "remove",
        "Begin to look for what removed models left behind; removes nothing.",
        CleaningView,
        lambda core, asked: core.cleaning.scan(asked.body, authority=asked.authority),
        request=CleaningRequest,
    ),
    ("GET", "/v1/cleaning/findings"): Route(
        "remove",
        "What the newest scan found, piece by piece.",
        FindingsPage,
        lambda core, asked: core.cleaning.findings(asked.query),
        query=PageQuery,
    ),
    ("POST", "/v1/cleaning"): Route(
        "remove",
        "Have the findings of a scan removed, as the device's owner confirmed.",
        CleaningView,
        lambda core, asked: core.cleaning.remove(asked.body, authority=asked.authority),
        request=CleaningAccept,
    ),
    ("GET", "/v1/cleaning/removals"): Route(
        "remove",
        "What became of the findings, piece by piece.",
        RemovalsPage,
        lambda core, asked: core.cleaning.removals(asked.query),
        query=PageQuery,
    ),
    ("DELETE", "/v1/cleaning"): Route(
        "remove",
        "Stop a scan, or put away what it found.",
        CleaningView,
        lambda core, asked: core.cleaning.stop(authority=asked.authority),
    ),
    ("GET", "/v1/openapi.json"): Route(
        "see",
        "This interface as an OpenAPI 3.1 document.",
        dict[str, Any],
        _openapi,
    ),
    ("POST", "/v1/chat"): Route(
        "see",
        "Have the engine run, and say where applications reach it.",
        api.ChatResult,
        lambda core, asked: asking.chat(core, asked.body),
        request=api.ChatRequest,
    ),
    ("POST", "/v1/page"): Route(
        "see",
        "Make a one-time link to the owner's page, and start the page if it does not run.",
        PageLink,
        lambda core, asked: core.page.link(asked.body, asked.peer),
        request=PageRequest,
    ),
    ("POST", "/v1/page/sessions"): Route(
        "see",
        "For the page's own process: somebody opened a link.",
        SessionView,
        lambda core, asked: core.page.redeem(asked.body),
        request=SessionRequest,
    ),
    ("GET", "/v1/page/sessions/{id}"): Route(
        "see",
        "For the page's own process: what the person of a session may do now.",
        SessionView,
        lambda core, asked: core.page.look(asked.rest, asked.query.peer_uid),
        query=PageSessionQuery,
    ),
    ("DELETE", "/v1/page/sessions/{id}"): Route(
        "see",
        "For the page's own process: somebody signed out.",
        dict[str, Any],
        _leave_page,
    ),
    ("POST", "/v1/gateway/tokens"): Route(
        "decide",
        "Make a token with which an application may use the gateway over TCP loopback.",
        api.TokenResult,
        lambda core, asked: asking.make_token(core, asked.body),
        request=api.TokenRequest,
    ),
}
