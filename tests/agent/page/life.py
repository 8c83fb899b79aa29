"""What an agent answers to the views about a model's life: versions, journal, answers, removal, cleaning, data."""

from __future__ import annotations

from typing import Any

from tests.agent.page.stage import MODEL, Answers, a_model, answers_of

from modelota.spec import api, api_life, api_owner
from modelota.spec.api_cleaning import (
    CleaningResult,
    CleaningView,
    FindingEvidence,
    FindingsPage,
    FindingView,
    RemovalsPage,
    RemovedView,
    StayingView,
)
from modelota.spec.deployment import DecisionReport, DeploymentReport, ReportEntry, ReportsPage
from modelota.spec.removal import RemovalItem, RemovalPlan, RemovalProof, RemovedItem

ROOT = f"/var/lib/modelota/models/{MODEL}"
HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J\"'><img src=x onerror=y>"
REVOKED = api.ErrorBody(
    code="release-revoked", params={"model": MODEL, "version": "1.2.1", "reason": "leaks-addresses"}
)
WITHDRAWN = api.ErrorBody(code="release-withdrawn", params={"model": MODEL, "version": "1.1.1", "reason": "slow"})


def a_life(**changes: Any) -> Answers:
    """Answers of an agent whose model has a past; the device is on 1.2.2 unless `changes` say otherwise."""
    model = a_model(
        **{
            "active_version": "1.2.2",
            "previous_version": "1.2.1",
            "user_data": f"{ROOT}/userdata",
            "title": {"zh-CN": "小助手", "en": "Assistant"},
            **changes,
        }
    )
    return {
        **answers_of(model),
        ("GET", "/v1/about"): an_about(),
        ("GET", "/v1/versions"): api.VersionsPage(model=MODEL, versions=versions()),
        ("GET", "/v1/log"): api.LogPage(entries=entries()),
        ("GET", "/v1/decisions"): api_owner.DecisionsPage(decisions=decisions()),
        ("GET", "/v1/reports"): ReportsPage(model=MODEL, reports=(a_report(),)),
        ("GET", "/v1/self-tests"): [a_self_test()],
        ("GET", "/v1/cleaning"): CleaningView(),
        ("POST", "/v1/removal/plan"): a_plan(),
        ("POST", "/v1/removal"): model,
        ("POST", "/v1/backup"): api_life.BackupResult(model=MODEL, path="/media/stick/mine.backup", size_bytes=1),
    }


def an_about(**changes: Any) -> api_owner.ModelAbout:
    """What the version in use is and can do."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "title": {"zh-CN": "小助手", "en": "Assistant"},
        "version": "1.2.2",
        "variant": "q8",
        "runtime": "llama.cpp b6900",
        "interfaces": {"chat": "1", "acme-lights": "2"},
        "permissions": ("microphone",),
        "notes": {"zh-CN": "修正单位换算。", "en": "Corrects unit conversion."},
        "size_bytes": 4_100_000_000,
        "released_at": "2026-11-20T06:00:00Z",
        "installed_at": "2026-11-21T06:00:00Z",
        "from_url": "https://models.example.org/",
        "signed_by": ("5a1c…", "77fe…"),
        "user_data_bytes": 123_456,
        "service": api_owner.ServiceView(requests=42, errors=1, tokens_per_s=23.4, memory_bytes=4_300_000_000),
    }
    return api_owner.ModelAbout(**{**fields, **changes})


def versions() -> tuple[api.VersionView, ...]:
    """One version in each state, newest first."""
    at = "2026-11-20T06:00:00Z"
    return (
        api.VersionView(version="1.2.3", variant=None, state="available", released_at=at, failed=True),
        api.VersionView(version="1.2.2", variant="q8", state="active", size_bytes=4_100_000_000, installed_at=at),
        api.VersionView(version="1.2.1", variant="q8", state="previous", size_bytes=4_000_000_000, installed_at=at),
        api.VersionView(version="1.1.4", variant="q8", state="kept", size_bytes=4_000_000_000, installed_at=at),
        api.VersionView(version="1.1.3", variant="q8", state="sealed", installed_at=at),
        api.VersionView(version="1.1.2", variant=None, state="available", released_at=at),
        api.VersionView(version="1.1.1", variant=None, state="withdrawn", released_at=at, withdrawn=WITHDRAWN),
    )


def entries(count: int = 6) -> tuple[api.LogEntry, ...]:
    """The end of a journal, oldest first."""
    happened: list[tuple[str, dict[str, Any]]] = [
        ("offer-made", {"to_version": "1.2.2", "digest": "5a" * 32}),
        ("decided", {"digest": "5a" * 32, "answer": "accept", "authority": "uid:1000", "channel": "page"}),
        ("fetched", {}),
        ("activated", {"to_version": "1.2.2", "watch_until": "2026-11-22T06:00:00Z"}),
        ("backup-made", {"path": "/media/stick/mine.backup", "authority": "uid:0"}),
        ("engine-crashed", {"code": "engine-crashed", "params": {"status": 139}}),
    ]
    return tuple(
        api.LogEntry(seq=10 + at, at=f"2026-11-2{1 + at // 2}T06:0{at}:00Z", model=MODEL, event=event, facts=facts)
        for at, (event, facts) in enumerate(happened[:count])
    )


def decisions() -> tuple[api_owner.DecisionView, ...]:
    """An answer that counts and one of each kind of past."""
    fields: dict[str, Any] = {"model": MODEL, "offer_digest": "5a" * 32, "channel": "page"}
    return (
        api_owner.DecisionView(
            id=9, to_version="1.2.3", answer="later", authority="uid:1000", at="2026-11-23T06:00:00Z",
            state="standing", remind_at="2026-11-24T20:00:00Z", revocable=True, **fields,
        ),
        api_owner.DecisionView(
            id=8, to_version="1.2.3", answer="accept", authority="uid:0", at="2026-11-22T06:00:00Z", state="expired",
            expires_at="2026-11-22T18:00:00Z", conditions=("charging", "parked"), not_before="2026-11-22T10:00:00Z",
            **fields,
        ),
        api_owner.DecisionView(
            id=7, to_version="1.2.2", answer="accept", authority="embedding-host", at="2026-11-21T06:00:00Z",
            state="done", **fields,
        ),
        api_owner.DecisionView(
            id=6, to_version="1.2.2", answer="skip", authority="uid:1001", at="2026-11-20T06:00:00Z", state="revoked",
            **fields,
        ),
        api_owner.DecisionView(
            id=5, to_version="1.2.2", answer="decline", authority="uid:1000", at="2026-11-19T06:00:00Z",
            state="superseded", **fields,
        ),
    )  # fmt: skip


def a_report(**changes: Any) -> ReportEntry:
    """The report of a rollback that took 42 seconds."""
    fields: dict[str, Any] = {
        "agent_version": "0.5.0", "model": MODEL, "operation": "rollback", "result": "done", "from_version": "1.2.2",
        "to_version": "1.2.1", "to_variant": "q8", "active_version": "1.2.1", "started_at": "2026-11-21T06:00:00Z",
        "finished_at": "2026-11-21T06:00:42Z", "seconds": 42.0, "offer_digest": None,
        "decision": DecisionReport(authority="uid:1000", channel="page", at="2026-11-21T06:00:00Z"), "mode": None,
        "planned_bytes": None, "fetched_bytes": 0, "written_bytes": None, "planned_peak_bytes": None,
        "peak_extra_bytes": None, "cpu_s": None, "peak_memory_bytes": None, "paths": {}, "interruptions": 0,
        "waits": (), "steps": (), "self_test": None, "error": None,
    }  # fmt: skip
    return ReportEntry(
        seq=3, at=changes.get("finished_at", fields["finished_at"]), report=DeploymentReport(**{**fields, **changes})
    )


def a_self_test(**record: Any) -> api.SelfTestEntry:
    """A self-test that passed."""
    results = [
        {"id": "who", "verdict": "passed", "figures": {"duration_s": 0.4}},
        {"id": "performance", "verdict": "passed", "figures": {"tokens_per_s": 21.5, "first_token_s": 0.31}},
    ]
    return api.SelfTestEntry(
        slot="1.2.2+q8", at="2026-11-21T06:00:00Z", record={"verdict": "passed", "results": results, **record}
    )


def a_plan(count: int = 12, user_data: Any = "keep") -> api_life.RemovalPlanView:
    """A plan of `count` paths."""
    items = (
        RemovalItem(path=f"{ROOT}/current", kind="link", size_bytes=0),
        RemovalItem(path=f"{ROOT}/slots/1.2.2+q8", kind="slot", size_bytes=4_100_000_000),
        *(RemovalItem(path=f"{ROOT}/kept/{at}", kind="kept versions", size_bytes=1000) for at in range(count - 2)),
    )
    stays = ("records", "anchors", "user-data") if user_data == "keep" else ("records", "anchors")
    plan = RemovalPlan(
        model=MODEL, version="1.2.2", reason="user", user_data=user_data, items=items, stays=stays
    )  # fmt: skip
    return api_life.RemovalPlanView(plan=plan, digest=plan.identity)


def a_proof(digest: str, path: str = f"{ROOT}/slots/1.2.2+q8") -> RemovalProof:
    """The proof of a removal."""
    return RemovalProof(
        model=MODEL,
        version="1.2.2",
        reason="user",
        plan_digest=digest,
        items=(RemovedItem(path=path, kind="slot", size_bytes=4_100_000_000, result="removed"),),
        free_before_bytes=10_000_000_000,
        free_after_bytes=14_100_000_000,
        began_at="2026-11-24T06:00:00Z",
        ended_at="2026-11-24T06:00:02Z",
    )


def found() -> CleaningView:
    """A scan that found one certain and two probable residues."""
    return CleaningView(
        state="found", plan_digest="c1" * 32, certain=1, certain_bytes=5_000_000, probable=2, probable_bytes=9_000_000,
        spared=1, files_seen=1200, unreadable=3, began_at="2026-11-24T06:00:00Z", ended_at="2026-11-24T06:01:00Z",
    )  # fmt: skip


def findings(path: str = "/home/li/downloads/model.bin") -> FindingsPage:
    """The findings of `found`."""
    file = {"model": MODEL, "version": "1.2.1", "variant": "q8", "file": "model.bin"}
    return FindingsPage(
        plan_digest="c1" * 32,
        findings=(
            FindingView(
                id="aaaaaaaaaaaa", path="/var/lib/modelota/models/old", kind="directory", certainty="certain",
                size_bytes=5_000_000, evidence=FindingEvidence(by="ledger"),
            ),
            FindingView(
                id="bbbbbbbbbbbb", path=path, kind="whole copy", certainty="probable", size_bytes=4_000_000,
                evidence=FindingEvidence(by="content", proven_bytes=4_000_000, **file), doubts=("other-user",),
            ),
            FindingView(
                id="cccccccccccc", path="/srv/share/part", kind="slice", certainty="probable", size_bytes=5_000_000,
                evidence=FindingEvidence(by="content", probes=8, matched=5, **file), doubts=("slice", "hard-linked"),
            ),
        ),
        spared=(StayingView(path="/usr/share/model.bin", reason="package-owned"),),
        not_looked_at=(StayingView(path="/mnt/nas", reason="network"),),
    )  # fmt: skip


def cleaned() -> CleaningView:
    """A cleaning that is done, with one refusal."""
    result = CleaningResult(
        removed=1, gone=0, refused=1, removed_bytes=5_000_000, began_at="2026-11-24T06:02:00Z",
        ended_at="2026-11-24T06:02:01Z",
    )  # fmt: skip
    return CleaningView(state="done", plan_digest="c1" * 32, result=result)


def removals() -> RemovalsPage:
    """The pieces of the proof of `cleaned`."""
    return RemovalsPage(
        plan_digest="c1" * 32,
        removals=(
            RemovedView(
                id="aaaaaaaaaaaa", path="/var/lib/modelota/models/old", kind="directory", size_bytes=5_000_000,
                result="removed",
            ),
            RemovedView(
                id="bbbbbbbbbbbb", path="/home/li/downloads/model.bin", kind="whole copy", size_bytes=4_000_000,
                result="refused", reason="in-use",
            ),
        ),
    )  # fmt: skip
