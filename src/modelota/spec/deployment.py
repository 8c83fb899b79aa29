"""The report of one operation on a model: install, update, rollback, repair (requirement 7.1.2-c). Plain data."""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT = 1


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One step. What was not measured is None.

    Attributes:
        step: its phase.
        finished_at: when.
        seconds: of work, where the step measured itself; else between the journal's entries, to the second.
        cpu_s: processor time of the worker and of engines it started.
        peak_memory_bytes: PSS of the worker and its children at most, sampled.
        read_bytes: from storage.
        written_bytes: to storage.
        ok: whether it succeeded.
        facts: what the step itself says: bytes received, requests, tests, path.
    """

    step: str
    finished_at: str
    seconds: float | None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    ok: bool = True
    facts: dict[str, Any] = {}


class DecisionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided, where and when."""

    authority: str | None
    channel: str | None
    at: str


class DeploymentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one operation did, took and led to.

    Attributes:
        format: of this report.
        agent_version: that made it.
        model: which.
        operation: `install`, `update`, `rollback`, `repair`, `uninstall`.
        result: `done`, `failed` (and went back), `cancelled`.
        from_version: before.
        to_version: wanted.
        to_variant: wanted.
        active_version: in use afterwards.
        started_at: the decision, or what led to it without one.
        finished_at: when.
        seconds: between them.
        offer_digest: what was decided about; None without an offer.
        decision: None for what the device did by itself.
        mode: of the package.
        planned_bytes: to be fetched, as the offer said.
        fetched_bytes: received, over all interruptions.
        written_bytes: to storage, over all steps that were measured.
        planned_peak_bytes: additional storage at most, as the offer said.
        peak_extra_bytes: additional storage at most, as sampled.
        cpu_s: processor time of all measured steps.
        peak_memory_bytes: at most in any step.
        paths: what lies where: `root`, `slot`, `user-data`, `snapshot`.
        interruptions: how often the agent was started again meanwhile.
        waits: what was waited for: gate, holders, since when.
        steps: in order.
        self_test: the newest record of the wanted version: verdict, results with figures; None when none ran.
        error: code and parameters, or None.
    """

    format: int = FORMAT
    agent_version: str
    model: str
    operation: str
    result: str
    from_version: str | None
    to_version: str
    to_variant: str | None
    active_version: str | None
    started_at: str
    finished_at: str
    seconds: float
    offer_digest: str | None
    decision: DecisionReport | None
    mode: str | None
    planned_bytes: int | None
    fetched_bytes: int
    written_bytes: int | None
    planned_peak_bytes: int | None
    peak_extra_bytes: int | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    paths: dict[str, str]
    interruptions: int
    waits: tuple[dict[str, Any], ...]
    steps: tuple[StepReport, ...]
    self_test: dict[str, Any] | None
    error: dict[str, Any] | None


class ReportEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A kept report with its number."""

    seq: int
    at: str
    report: DeploymentReport


class ReportsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/reports?model=`, newest first."""

    model: str
    reports: tuple[ReportEntry, ...]
