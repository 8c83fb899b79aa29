"""The report of an operation, for a terminal and as a page, whatever was not measured."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from modelota.i18n import LANGUAGES, Language
from modelota.i18n.deployment import report_lines, report_page

REPORT: dict[str, Any] = {
    "format": 1,
    "agent_version": "0.1.0",
    "model": "acme/<assistant>",
    "operation": "update",
    "result": "failed",
    "from_version": "1.1.1",
    "to_version": "1.1.2",
    "to_variant": "q8",
    "active_version": "1.1.1",
    "started_at": "2026-11-24T06:00:00Z",
    "finished_at": "2026-11-24T06:05:00Z",
    "seconds": 300.0,
    "offer_digest": "ab" * 32,
    "decision": {"authority": "uid:1000", "channel": "terminal", "at": "2026-11-24T06:00:00Z"},
    "mode": "differential",
    "planned_bytes": 1_000_000,
    "fetched_bytes": 1_100_000,
    "written_bytes": None,
    "planned_peak_bytes": 5_000_000,
    "peak_extra_bytes": None,
    "cpu_s": None,
    "peak_memory_bytes": None,
    "paths": {"root": "/var/lib/modelota", "slot": "/var/lib/<script>alert(1)</script>"},
    "interruptions": 2,
    "waits": [{"gate": "activate", "waits_for": ["charging"], "since": "2026-11-24T06:01:00Z"}],
    "steps": [
        {"step": "fetching", "seconds": 3.25, "cpu_s": 1.0, "peak_memory_bytes": 9, "written_bytes": 7, "ok": True},
        {
            "step": "testing",
            "seconds": None,
            "cpu_s": None,
            "peak_memory_bytes": None,
            "written_bytes": None,
            "ok": False,
        },
    ],
    "self_test": {
        "verdict": "failed",
        "at": "2026-11-24T06:04:00Z",
        "results": [
            {"id": "who", "verdict": "failed", "figures": {"duration_s": 0.5}},
            {"id": "x", "verdict": "passed"},
        ],
    },
    "error": {"code": "self-test-failed", "params": {"test": "who", "detail": "answer"}},
}
BARE: dict[str, Any] = REPORT | {
    "offer_digest": None,
    "decision": None,
    "mode": None,
    "planned_bytes": None,
    "planned_peak_bytes": None,
    "waits": [],
    "steps": [],
    "self_test": None,
    "error": None,
    "from_version": None,
    "interruptions": 0,
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("report", [REPORT, BARE], ids=["full", "bare"])
def test_a_page_needs_nothing_else_and_runs_nothing(report: dict[str, Any], language: Language) -> None:
    """Well-formed, without scripts, addresses or pictures; what comes from elsewhere is text."""
    page = report_page(report, language)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(tags.names)
    assert not {"src", "href", "onload", "onclick"} & set(tags.attributes)
    assert "&lt;script&gt;" in page
    assert "acme/&lt;assistant&gt;" in page
    assert f'lang="{language}"' in page


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("report", [REPORT, BARE], ids=["full", "bare"])
def test_lines_tell_everything(report: dict[str, Any], language: Language) -> None:
    """Versions, figures and places are there; nothing is left unfilled."""
    text = "\n".join(report_lines(report, language))
    assert "1.1.2" in text
    assert "/var/lib/modelota" in text
    assert "{" not in text
    if report is REPORT:
        for wanted in ("1.1.1 → 1.1.2", "3.2 s", "1.1 MB", "who", "self-test-failed", "1000"):
            assert wanted in text, wanted


def test_what_was_not_measured_is_unknown() -> None:
    """A missing figure reads as unknown, never as zero."""
    lines = [line for line in report_lines(REPORT, "en") if line.strip().startswith(("Written", "Processor time"))]
    assert lines
    assert all("unknown" in line for line in lines)


def test_each_figure_of_a_step_says_what_it_is() -> None:
    """On a narrow screen there are no columns: the cells carry their headings; the longest step has the longest bar."""
    slow = REPORT["steps"][0] | {"step": "testing", "seconds": 6.5}
    waiting = REPORT["steps"][0] | {"step": "waiting", "seconds": 3600.0}
    page = report_page(REPORT | {"steps": [REPORT["steps"][0], waiting, slow]}, "en")
    for label, figure in (("Time", "3.2 s"), ("Memory", "9 B"), ("Time", "1 hour")):
        assert f'<td data-label="{label}">{figure}</td>' in page
    assert [part.split("%")[0] for part in page.split('<div class="bar" style="width:')[1:]] == ["50.0", "100.0"]
