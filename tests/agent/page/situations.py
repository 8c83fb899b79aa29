"""How a device can be, as its agent tells: every state that the main views have to show."""

from __future__ import annotations

from typing import Any

from tests.agent.page.stage import MODEL, Answers, a_decision, a_model, a_view, an_offer, an_outcome, answers_of

from modelota.spec import api, api_owner
from modelota.spec.deployment import DeploymentReport, ReportEntry, StepReport


def an_error(code: str, now: str = "", now_params: dict[str, Any] | None = None, **params: Any) -> api.ErrorBody:
    """An error as it crosses the socket."""
    return api.ErrorBody(code=code, params=params, now=now, now_params=now_params or {})


def a_notice(**changes: Any) -> api_owner.Notice:
    """The notice of an update's outcome."""
    at = "2026-11-24T06:30:00Z"
    fields: dict[str, Any] = {"id": 3, "key": "o", "kind": "outcome", "model": MODEL, "at": at, "due_at": at}
    return api_owner.Notice(**{**fields, "version": "1.1.2", **changes})


def an_update_report(**changes: Any) -> ReportEntry:
    """The report of the update to 1.1.2."""
    fields: dict[str, Any] = {
        "agent_version": "0.5.0",
        "model": MODEL,
        "operation": "update",
        "result": "done",
        "from_version": "1.1.1",
        "to_version": "1.1.2",
        "to_variant": "q8",
        "active_version": "1.1.2",
        "started_at": "2026-11-24T06:24:00Z",
        "finished_at": "2026-11-24T06:30:00Z",
        "seconds": 360.0,
        "offer_digest": "ab" * 32,
        "decision": None,
        "mode": "differential",
        "planned_bytes": 38_000_000,
        "fetched_bytes": 38_000_000,
        "written_bytes": None,
        "planned_peak_bytes": None,
        "peak_extra_bytes": None,
        "cpu_s": 20.0,
        "peak_memory_bytes": 90_000_000,
        "paths": {"root": "/var/lib/modelota"},
        "interruptions": 0,
        "waits": (),
        "steps": (
            StepReport(step="fetching", finished_at="2026-11-24T06:25:00Z", seconds=60.0),
            StepReport(step="testing", finished_at="2026-11-24T06:30:00Z", seconds=300.0),
        ),
        "self_test": None,
        "error": None,
    }
    return ReportEntry(seq=4, at="2026-11-24T06:30:00Z", report=DeploymentReport(**{**fields, **changes}))


def under_way(phase: str, **changes: Any) -> api.ModelStatus:
    """The update to 1.1.2 in a phase."""
    fields: dict[str, Any] = {"phase": phase, "target_version": "1.1.2", "operation": "update", **changes}
    return a_model(**fields)


def situations() -> dict[str, Answers]:
    """What an agent answers, by the name of a situation."""
    reports = (an_update_report(),)
    view = a_view()
    offered = a_model(phase="offered", offer=view)
    accepted = a_decision(view, "accept")
    urgent = a_view(
        an_offer(
            kind="security",
            urgency_reason={
                "zh-CN": "此版本修补了一个可被网页利用、读取对话内容的漏洞。",
                "en": "It closes a hole through which a web page could read your conversations.",
            },
            permissions=("microphone", "network"),
            new_permissions=("network",),
        )
    )
    back = an_offer(
        direction="rollback",
        to_version="1.0.0",
        mode="full",
        planned_bytes=4_000_000_000,
        consequences=("older-version", "fetched-again", "failed-before"),
    )
    stale = an_offer(stale_since="2026-11-20T00:00:00Z", consequences=("metered-network", "storage-share"))
    unreachable = an_error("network-unreachable", url="https://models.example.org/", detail="timeout")
    crashed = an_error("engine-crashed", slot="1.1.2+q8", status=-11)
    returned = an_error("self-test-failed", "returned", {"version": "1.1.1"}, test="who", slot="1.1.2+q8", detail="x")
    revoked = an_error("release-revoked", "serving", {"version": "1.1.1"}, version="1.1.1", reason="unsafe-output")
    fetching = api.Progress(step="fetching", done=12_400_000, total=38_000_000, rate_per_s=3_200_000.0, left_s=48.0)
    nothing = {"active_version": None, "previous_version": None, "last_checked_at": None}
    later = a_decision(view, "later", remind_at="2026-11-25T06:10:00Z")
    skipped = a_decision(view, "skip", expires_at="2027-05-23T06:10:00Z")
    done = a_model(
        phase="watching",
        active_version="1.1.2",
        previous_version="1.1.1",
        watch_until="2026-11-25T06:30:00Z",
        last_outcome=an_outcome(),
    )
    failed = a_model(last_outcome=an_outcome(result="failed", active_version="1.1.1", error=returned))
    return {
        "idle": answers_of(a_model()),
        "nothing installed": answers_of(a_model(**nothing)),
        "install offered": answers_of(
            a_model(phase="offered", offer=a_view(an_offer(direction="install", from_version=None)), **nothing)
        ),
        "offered": answers_of(offered),
        "offered, later": answers_of(offered, decisions=(later,)),
        "skipped": answers_of(a_model(), decisions=(skipped,)),
        "urgent": answers_of(a_model(phase="offered", offer=urgent)),
        "long way back": answers_of(a_model(phase="offered", offer=a_view(back, estimate_s=2400.0))),
        "stale": answers_of(a_model(phase="offered", offer=a_view(stale, estimate_s=None))),
        "repair offered": answers_of(
            a_model(phase="offered", offer=a_view(an_offer(direction="repair", to_version="1.1.1")))
        ),
        "rechecking": answers_of(under_way("rechecking")),
        "fetching": answers_of(under_way("fetching", progress=fetching), decisions=(accepted,)),
        "waits for the evening": answers_of(
            under_way("waiting", waits_for=("time", "charging"), waits_before="fetch"), decisions=(accepted,)
        ),
        "waits for a holder": answers_of(
            under_way("waiting", waits_for=("inhibitor:rauc",), waits_before="activate"), decisions=(accepted,)
        ),
        "paused by its person": answers_of(
            under_way("fetching", paused=True, waits_for=("person",), progress=fetching), decisions=(accepted,)
        ),
        "waits for the network": answers_of(
            under_way("fetching", paused=True, waits_for=("network-unreachable",), error=unreachable)
        ),
        "verifying": answers_of(under_way("verifying")),
        "deploying": answers_of(under_way("deploying")),
        "testing": answers_of(under_way("testing", progress=api.Progress(step="testing", done=3, total=8))),
        "activating": answers_of(under_way("activating")),
        "going back by itself": answers_of(under_way("rolling-back", error=crashed)),
        "rolling back": answers_of(under_way("waiting", operation="rollback", waits_before="activate")),
        "uninstalling": answers_of(
            under_way("removing", operation="uninstall", progress=api.Progress(step="removing", done=30, total=120))
        ),
        "done": answers_of(done, notices=(a_notice(),), reports=reports),
        "failed": answers_of(failed, notices=(a_notice(error=returned),), reports=reports),
        "cancelled": answers_of(a_model(last_outcome=an_outcome(result="cancelled", active_version="1.1.1"))),
        "degraded": answers_of(a_model(phase="degraded", error=crashed, suspect=returned)),
        "revoked": answers_of(a_model(withdrawn=revoked, engine="failed", engine_error=crashed)),
        "end of service": answers_of(a_model(end_of_service="2027-01-01T00:00:00Z")),
    }


SITUATIONS = situations()
