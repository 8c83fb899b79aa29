"""The report of one finished operation, from the journal: time, paths, resources (requirement 7.1.2-c)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import modelota
from modelota.agent.journal import Journal
from modelota.clock import from_iso
from modelota.errors import ModelotaError
from modelota.spec.api import LogEntry, OfferView, Outcome
from modelota.spec.deployment import DecisionReport, DeploymentReport, StepReport
from modelota.spec.slot import SlotId
from modelota.storage.layout import Layout

_STEPS: Final = {
    "recheck-passed": "rechecking",
    "fetched": "fetching",
    "verified": "verifying",
    "deployed": "deploying",
    "tests-passed": "testing",
    "tests-failed": "testing",
    "gates-open": "waiting",
    "activated": "activating",
    "rolled-back": "rolling-back",
    "removed": "removing",
}
_FACTS: Final = (
    "received_bytes",
    "requests",
    "resumed_bytes",
    "verified_bytes",
    "size_bytes",
    "path",
    "tests",
    "verdict",
)
_BEGIN: Final = frozenset({"rollback-asked", "removal-asked", "watch-broken", "retested"})
_READ_BACK_MAX: Final = 1000  # entries: an operation that waits for days leaves many


def keep_report(
    journal: Journal, layout: Layout, model: str, outcome: Outcome, noticed: Callable[[ModelotaError], None]
) -> None:
    """Report the operation that ended; one that can't be written does not keep it from having ended."""
    try:
        journal.reports.keep(report_of(journal, layout, model, outcome))
    except ModelotaError as error:
        noticed(error)


def report_of(journal: Journal, layout: Layout, model: str, outcome: Outcome) -> DeploymentReport:
    """Build the report of the operation that just ended with `outcome`.

    Args:
        journal: of the root; its last entry about the model ended the operation.
        layout: of the root.
        model: which.
        outcome: how it ended.

    Raises:
        AskPerson: `database-unreadable`.
    """
    entries = _operation(journal.last_entries(model, _READ_BACK_MAX))
    begun = entries[0] if entries else None
    digest = next((entry.facts["digest"] for entry in entries if entry.event == "decided"), None)
    offer = journal.offer(digest) if isinstance(digest, str) else None
    steps = tuple(_steps(entries))
    started_at = begun.at if begun else outcome.finished_at
    usages = [entry.facts["usage"] for entry in entries if isinstance(entry.facts.get("usage"), dict)]
    before = next((usage["disk_before_bytes"] for usage in usages if usage["disk_before_bytes"] is not None), None)
    disk_peak = _most(usage["disk_peak_bytes"] for usage in usages)
    variant = offer.offer.to_variant if offer else _fact(entries, "to_variant")
    return DeploymentReport(
        agent_version=modelota.__version__,
        model=model,
        operation=outcome.operation,
        result=outcome.result,
        from_version=outcome.from_version,
        to_version=outcome.to_version,
        to_variant=variant,
        active_version=outcome.active_version,
        started_at=started_at,
        finished_at=outcome.finished_at,
        seconds=max(0.0, (from_iso(outcome.finished_at) - from_iso(started_at)).total_seconds()),
        offer_digest=offer.digest if offer else None,
        decision=_decision(begun),
        mode=offer.offer.mode if offer else None,
        planned_bytes=offer.offer.planned_bytes if offer else None,
        fetched_bytes=journal.spent_bytes(offer.digest) if offer else 0,
        written_bytes=_sum(step.written_bytes for step in steps),
        planned_peak_bytes=offer.offer.peak_space_bytes if offer else None,
        peak_extra_bytes=max(0, disk_peak - before) if disk_peak is not None and before is not None else None,
        cpu_s=_sum(step.cpu_s for step in steps),
        peak_memory_bytes=_most(step.peak_memory_bytes for step in steps),
        paths=_paths(layout, model, entries, outcome.to_version, variant),
        interruptions=sum(entry.event == "restarted" for entry in entries),
        waits=tuple(_waits(entries)),
        steps=steps,
        self_test=_self_test(journal, model, entries, offer, outcome, variant),
        error={"code": outcome.error.code, "params": outcome.error.params} if outcome.error else None,
    )


def _operation(entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """The entries from what began the operation to the last one."""
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        accepted = entry.event == "decided" and entry.facts.get("answer") == "accept"
        if accepted or entry.event in _BEGIN:
            return entries[index:]
    return entries[-1:]


def _steps(entries: Sequence[LogEntry]) -> list[StepReport]:
    steps: list[StepReport] = []
    for before, entry in pairwise(entries):
        failed = entry.event in {"failed", "tests-failed"}
        step = _STEPS.get(entry.event) or (str(entry.facts.get("phase", "")) if failed else "")
        if not step:
            continue
        usage: dict[str, Any] = entry.facts.get("usage") or {}
        between_s = max(0.0, (from_iso(entry.at) - from_iso(before.at)).total_seconds())
        steps.append(
            StepReport(
                step=step,
                finished_at=entry.at,
                seconds=usage.get("wall_s", between_s),
                cpu_s=usage.get("cpu_s"),
                peak_memory_bytes=usage.get("peak_pss_bytes"),
                read_bytes=usage.get("read_bytes"),
                written_bytes=usage.get("written_bytes"),
                ok=not failed,
                facts={name: entry.facts[name] for name in _FACTS if name in entry.facts},
            )
        )
    return steps


def _waits(entries: Sequence[LogEntry]) -> list[dict[str, Any]]:
    return [
        {"gate": entry.facts.get("gate"), "waits_for": entry.facts.get("waits_for"), "since": entry.at}
        for entry in entries
        if entry.event == "gates-closed"
    ]


def _decision(begun: LogEntry | None) -> DecisionReport | None:
    if begun is None or "authority" not in begun.facts:
        return None
    return DecisionReport(authority=begun.facts["authority"], channel=begun.facts.get("channel"), at=begun.at)


def _paths(
    layout: Layout, model: str, entries: Sequence[LogEntry], version: str, variant: str | None
) -> dict[str, str]:
    place = layout.model(model)
    paths = {"root": str(layout.root), "user-data": str(place.user_data)}
    if variant is not None:
        paths["slot"] = str(place.slot(SlotId(version, variant).name))
    saved = [entry.facts.get("path") for entry in entries if entry.event == "user-data-saved"]
    if saved and isinstance(saved[-1], str):
        paths["snapshot"] = saved[-1]
    return paths


def _self_test(
    journal: Journal,
    model: str,
    entries: Sequence[LogEntry],
    offer: OfferView | None,
    outcome: Outcome,
    variant: str | None,
) -> dict[str, Any] | None:
    if offer is None or not entries or variant is None:
        return None
    slot = SlotId(outcome.to_version, variant).name
    for tested, at, record in reversed(journal.self_tests(model)):
        if tested == slot and at >= entries[0].at:
            return {"at": at, **record}
    return None


def _fact(entries: Sequence[LogEntry], name: str) -> str | None:
    return next((entry.facts[name] for entry in entries if isinstance(entry.facts.get(name), str)), None)


def _sum(values: Any) -> Any:  # noqa: ANN401  of numbers of one kind
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if known else None


def _most(values: Any) -> int | None:  # noqa: ANN401  of integers or None
    return max((value for value in values if value is not None), default=None)
