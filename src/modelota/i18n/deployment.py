"""The report of an operation as its reader sees it: lines for a terminal, one self-contained page (clause 7.1.2-c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

from modelota.i18n import Language, units
from modelota.i18n.errors import render_error
from modelota.i18n.owner import authority_name, channel_name
from modelota.i18n.phases import gate_name, phase_name, step_name
from modelota.i18n.texts import Texts, clean, mark, pad, texts_for, width

Fields = Mapping[str, Any]

_OPERATIONS: Final = {
    "install": mark("Installation"),
    "update": mark("Update"),
    "rollback": mark("Way back"),
    "repair": mark("Repair"),
    "uninstall": mark("Removal"),
}
_RESULTS: Final = {"done": mark("done"), "failed": mark("not done"), "cancelled": mark("cancelled")}
_MODES: Final = {"full": mark("full"), "incremental": mark("incremental"), "differential": mark("differential")}
_PATHS: Final = {
    "root": mark("Device root"),
    "slot": mark("Version"),
    "user-data": mark("Your data"),
    "snapshot": mark("Copy of your data before"),
}
_VERDICTS: Final = {
    "passed": mark("passed"),
    "failed": mark("failed"),
    "inconclusive": mark("inconclusive"),
    "skipped": mark("skipped"),
}
_COLUMNS: Final = (mark("Step"), mark("Time"), mark("Processor"), mark("Memory"), mark("Written"), mark("Result"))
_PLAIN_SECONDS: Final = 600.0  # from here on nobody counts in seconds
_STYLE: Final = """
:root{color-scheme:light dark;--line:#d0d7de;--soft:#57606a;--bar:#2f6f9f}
@media (prefers-color-scheme:dark){:root{--line:#3a424b;--soft:#9aa4af;--bar:#5aa2d6}}
body{font:16px/1.5 system-ui,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;max-width:60rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:1.8rem 0 .4rem}
p.lead{color:var(--soft);margin-top:0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}th{font-weight:600}th:first-child{padding-left:0}
tbody th{width:34%;font-weight:400;color:var(--soft)}
.steps td{overflow-wrap:normal;white-space:nowrap}
.bar{height:.3rem;background:var(--bar);border-radius:.15rem;min-width:2px;margin-top:.25rem}
@media (max-width:40rem){
.steps thead{display:none}
.steps tr{display:grid;grid-template-columns:repeat(3,1fr);border-bottom:1px solid var(--line);padding:.4rem 0}
.steps th,.steps td{border:0;padding:.1rem 0}
.steps tbody th{grid-column:1/-1;width:auto;color:inherit}
.steps td::before{content:attr(data-label);display:block;color:var(--soft);font-size:.8rem}
}
@media print{body{margin:0;max-width:none}}
"""


class Section(NamedTuple):
    """A part of the report: rows of label and value, or a table with headings."""

    title: str
    rows: list[tuple[str, ...]]
    headings: tuple[str, ...] = ()


def report_lines(report: Fields, language: Language) -> list[str]:
    """The report for a terminal."""
    lines = [report_title(report, language)]
    for section in sections(report, language):
        lines += ["", section.title]
        rows = [*([section.headings] if section.headings else []), *section.rows]
        widths = [max(width(cell) for cell in column) + 2 for column in zip(*rows, strict=True)]
        lines += [
            "  " + "".join(pad(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return lines


def report_page(report: Fields, language: Language) -> str:
    """The report as one HTML page that needs nothing else: no script, no picture, no address."""
    shares = step_shares(report)
    title, ended = escape(report_title(report, language)), units.moment(report["finished_at"], language)
    parts = [
        "<!doctype html>",
        f'<html lang="{language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f'<p class="lead">{escape(clean(report["model"]))} · {escape(ended)}</p>',
    ]
    for section in sections(report, language):
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += _steps_table(section, shares) if section.headings else _table(section)
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _table(section: Section) -> Iterator[str]:
    yield "<table><tbody>"
    for first, *others in section.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table>"


def _steps_table(section: Section, shares: Sequence[float]) -> Iterator[str]:
    """A row a step, with a bar as long as it took; on a narrow screen each figure stands under its heading."""
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in section.headings)
    yield f'<table class="steps"><thead><tr>{cells}</tr></thead><tbody>'
    for (first, *others), share in zip(section.rows, shares, strict=True):
        bar = f'<div class="bar" style="width:{100 * share:.1f}%"></div>' if share else ""
        labelled = zip(section.headings[1:], others, strict=True)
        cells = "".join(f'<td data-label="{escape(label)}">{escape(cell)}</td>' for label, cell in labelled)
        yield f'<tr><th scope="row">{escape(first)}{bar}</th>{cells}</tr>'
    yield "</tbody></table>"


def report_title(report: Fields, language: Language) -> str:
    """What the report is of: operation, versions, how it ended."""
    texts = texts_for(language)
    operation = _named(_OPERATIONS, report["operation"], texts)
    versions = " → ".join(clean(each) for each in (report["from_version"], report["to_version"]) if each)
    return texts.say(
        "{operation} {versions}: {result}",
        operation=operation,
        versions=versions,
        result=_named(_RESULTS, report["result"], texts),
    )


def sections(report: Fields, language: Language) -> list[Section]:
    """Everything the report tells, in the order of reading."""
    texts = texts_for(language)
    found = [
        Section(texts.say("Summary"), _summary(report, texts)),
        Section(texts.say("Resources"), _resources(report, texts)),
        Section(
            texts.say("Steps"),
            [_step(step, texts) for step in report["steps"]],
            tuple(texts.say(each) for each in _COLUMNS),
        ),
        Section(
            texts.say("Places"),
            [(texts.say(_PATHS.get(name, name)), clean(path)) for name, path in report["paths"].items()],
        ),
    ]
    if report["waits"]:
        rows = [_wait(wait, language) for wait in report["waits"]]
        found.append(Section(texts.say("Waited for"), rows))
    test = report["self_test"]
    if test is not None:
        rows = [(texts.say("All together"), _named(_VERDICTS, test["verdict"], texts))]
        rows += [
            (
                clean(one["id"]),
                f"{_named(_VERDICTS, one['verdict'], texts)}  {_figures(one.get('figures') or {})}".strip(),
            )
            for one in test.get("results", ())
        ]
        found.append(Section(texts.say("Self-tests"), rows))
    return [section for section in found if section.rows]


def step_shares(report: Fields) -> list[float]:
    """How long each step took, as a share of the longest; waiting is no work and has none."""
    seconds = [0.0 if step["step"] == "waiting" else step["seconds"] or 0.0 for step in report["steps"]]
    longest = max(seconds, default=0.0)
    return [each / longest if longest else 0.0 for each in seconds]


def _summary(report: Fields, texts: Texts) -> list[tuple[str, ...]]:
    language, decision = texts.language, report["decision"]
    rows: list[tuple[str, ...]] = [
        (texts.say("Model"), clean(report["model"])),
        (texts.say("In use now"), clean(report["active_version"] or texts.say("nothing"))),
        (texts.say("Began"), units.moment(report["started_at"], language)),
        (texts.say("Ended"), units.moment(report["finished_at"], language)),
        (texts.say("Took"), units.duration(report["seconds"], language)),
    ]
    if decision is not None:
        at = units.moment(decision["at"], language)
        who = texts.say(
            "{authority}, {channel}, {at}",
            authority=authority_name(decision["authority"], language),
            channel=channel_name(decision["channel"], language),
            at=at,
        )
        rows.append((texts.say("Decided by"), who))
    else:
        rows.append((texts.say("Decided by"), texts.say("the device, as agreed before")))
    if report["offer_digest"]:
        rows.append((texts.say("Offer"), clean(report["offer_digest"])))
    if report["interruptions"]:
        rows.append((texts.say("Interrupted"), texts.count("{n} time", "{n} times", report["interruptions"])))
    if report["error"] is not None:
        error = render_error(report["error"]["code"], report["error"]["params"], language)
        rows += [(texts.say("What happened"), error.what), (texts.say("Code"), error.code)]
    return rows


def _resources(report: Fields, texts: Texts) -> list[tuple[str, ...]]:
    language = texts.language
    rows: list[tuple[str, ...]] = []
    if report["mode"] is not None:
        rows.append((texts.say("Package"), _named(_MODES, report["mode"], texts)))
    for label, found, plan in (
        (mark("Downloaded"), report["fetched_bytes"], report["planned_bytes"]),
        (mark("Additional storage at most"), report["peak_extra_bytes"], report["planned_peak_bytes"]),
        (mark("Written to storage"), report["written_bytes"], None),
        (mark("Memory of the agent's worker at most"), report["peak_memory_bytes"], None),
    ):
        text = units.size(found, language)
        if plan is not None:
            text = texts.say("{found} (planned: {planned})", found=text, planned=units.size(plan, language))
        rows.append((texts.say(label), text))
    rows.append((texts.say("Processor time"), _seconds(report["cpu_s"], texts)))
    return rows


def _step(step: Fields, texts: Texts) -> tuple[str, ...]:
    language = texts.language
    return (
        phase_name(step["step"], language),
        _seconds(step["seconds"], texts),
        _seconds(step["cpu_s"], texts),
        units.size(step["peak_memory_bytes"], language),
        units.size(step["written_bytes"], language),
        texts.say("done") if step["ok"] else texts.say("not done"),
    )


def _seconds(seconds: float | None, texts: Texts) -> str:
    if seconds is None:
        return texts.unknown
    return f"{seconds:.1f} s" if seconds < _PLAIN_SECONDS else units.duration(seconds, texts.language)


def _wait(wait: Fields, language: Language) -> tuple[str, ...]:
    texts = texts_for(language)
    holders = texts.listing([gate_name(str(each), language) for each in wait["waits_for"] or ()])
    step = step_name(str(wait["gate"]), language)
    return step, texts.say("{holders}, since {at}", holders=holders, at=units.moment(wait["since"], language))


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} {value:.4g}" for name, value in figures.items() if isinstance(value, (int, float)))


def _named(table: Mapping[str, str], key: str, texts: Texts) -> str:
    return texts.say(table[key]) if key in table else clean(key)
