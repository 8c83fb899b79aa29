"""What a release has to keep of its predecessors, tried by a publisher with real keys, in the real engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelota.conformance.chapters.attempts import Attempt, of_command
from modelota.conformance.publisher import Publisher
from modelota.conformance.releases import Table
from modelota.conformance.stage import Stage

Json = dict[str, Any]


@dataclass
class Promises:
    """What was tried, and what it was refused for.

    Attributes:
        untested: publishing the first release without a test report.
        first: verdicts of its report, by suite.
        refused: attempts that must be refused, by name.
        core: ids of the first release's core tests.
        forgetful: verdicts by suite of a release that no longer answers as its predecessor did.
        ran: ids of the tests that were run for it.
        engines: runtimes that the reports name, with their versions.
        kept: publishing one that keeps everything.
    """

    untested: Attempt
    first: dict[str, str]
    refused: dict[str, Attempt] = field(default_factory=dict)
    core: list[str] = field(default_factory=list)
    forgetful: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    engines: Json = field(default_factory=dict)
    kept: Attempt | None = None


def promises(stage: Stage) -> Promises:
    """Test and publish a first release; then try one that drops, one that forgets, and one that keeps."""
    publisher = stage.strict
    first, better, bad = (_one_variant(each) for each in (stage.family.first, stage.family.better, stage.family.bad))
    untested = of_command("", publisher.try_publish(first))
    report = publisher.test(first)
    told = Promises(untested, _verdicts(report), engines=report["report"]["machine"]["runtimes"])
    publisher.publish(first)
    told.core = [test["id"] for test in first.get("self_tests", {}).get("functional", ()) if test.get("core")]
    told.refused["interface-dropped"] = _dry(publisher, better | {"interfaces": []}, "no-interface")
    if told.core:
        own = [test for test in better["self_tests"]["functional"] if test["id"] != told.core[0]]
        dropped = better | {"self_tests": {**better["self_tests"], "functional": own}}
        told.refused["core-test-dropped"] = _dry(publisher, dropped, "no-core-test")
    report = publisher.test(bad)
    told.forgetful = _verdicts(report)
    told.ran = [test["id"] for suite in report["report"]["suites"] for test in suite["record"]["results"]]
    told.refused["test-report-failed"] = of_command("", publisher.try_publish(bad))
    publisher.test(better)
    told.kept = of_command("", publisher.try_publish(better))
    return told


def _one_variant(table: Table) -> Table:
    return table | {"variants": table["variants"][:1]}


def _dry(publisher: Publisher, table: Table, name: str) -> Attempt:
    """A dry run tells every refusal; the one that is named after its attempt counts, else the first."""
    done = publisher.try_publish(table, "--dry-run", name=name)
    refusals = [entry["code"] for each in done.objects for entry in each.get("refusals", ())]
    wanted = {"no-interface": "interface-dropped", "no-core-test": "core-test-dropped"}[name]
    code = wanted if wanted in refusals else (refusals[0] if refusals else None)
    return Attempt("", done.status != 0, code)


def _verdicts(report: Json) -> dict[str, str]:
    return {suite["suite"]: suite["verdict"] for suite in report["report"]["suites"]}
