"""What publishing commands show: progress and reports."""

from __future__ import annotations

import sys

from modelota.cli.session import Session
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.steps import change_sentence, step_name
from modelota.i18n.texts import Texts, mark
from modelota.repository.report import PackageReport, PublishProgress, PublishReport
from modelota.repository.steps import STEPS

_CHANGES_SHOWN = 12
_STEPS = {
    "reading": mark("reading"),
    "packing": mark("packing and sealing"),
    "comparing": mark("comparing with earlier releases"),
    "uploading": mark("uploading"),
    "archiving": mark("archiving"),
    "committing": mark("making it visible"),
}

_MODES = {"full": mark("full"), "incremental": mark("incremental"), "differential": mark("differential")}
_SKIPPED = {
    "too-large": mark("skipped: above 30 % of the full package"),
    "not-smaller": mark("skipped: less than 1 % smaller than another package"),
    "not-below-full": mark("not made: it would not be smaller than the full package"),
    "no-counterpart": mark("skipped: that version has no such variant"),
    "locked": mark("skipped: no key here opens that version"),
    "unreadable": mark("skipped: that version is damaged in the repository"),
    "manifest-full": mark("skipped: the release's description would become too large"),
}
_NOTES = {
    "header-large": mark("its header is too large to be worth reading"),
    "version-unknown": mark("its format has a version that is not known here"),
}


class PublishLines:
    """Progress of publishing on standard error: a moving line on a terminal, one line per step elsewhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._moves = sys.stderr.isatty() and not session.as_json
        self._step = ""
        self._percent = -1

    def __call__(self, progress: PublishProgress) -> None:
        """Show how far it is."""
        step = self._session.texts.say(_STEPS[progress.step])
        percent = min(100, progress.done * 100 // progress.total) if progress.total else 100
        if not self._moves:
            if progress.step != self._step:
                self._session.aside(step)
        elif (progress.step, percent) != (self._step, self._percent):
            sys.stderr.write(f"\r\x1b[K{step} {percent} %")
            sys.stderr.flush()
        self._step, self._percent = progress.step, percent

    def close(self) -> None:
        """Leave the line."""
        if self._moves and self._step:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def publish_rows(report: PublishReport, texts: Texts) -> list[tuple[str, str]]:
    """A publishing report as labels and values."""
    language = texts.language
    rows = [
        (texts.say("Model"), report.model),
        (texts.say("Version"), report.version),
        (texts.say("Made from"), report.predecessor or texts.say("nothing: it is the first")),
    ]
    if report.demanded is not None:
        rows.append((texts.say("Step"), _step(report, texts)))
    for variant in report.variants:
        ratio = "" if variant.ratio is None else f" ({variant.ratio:.0%})"
        sizes = texts.say(
            "{files}, {size}; sealed full package {full}",
            files=texts.count("{n} file", "{n} files", variant.files),
            size=units.size(variant.size_bytes, language),
            full=units.size(variant.full_bytes, language) + ratio,
        )
        rows.append((texts.say("Variant {name}", name=variant.name), sizes))
    upload = texts.say(
        "{packs}, {size}; {reused} are in earlier packs already",
        packs=texts.count("{n} pack", "{n} packs", report.new_packs),
        size=units.size(report.new_bytes, language),
        reused=units.size(report.reused_bytes, language),
    )
    rows += [
        (texts.say("Upload"), upload),
        (texts.say("Description"), units.size(report.manifest_bytes, language)),
        (texts.say("Device classes"), texts.listing(list(report.device_classes))),
        (texts.say("Device models"), texts.listing(list(report.device_models)) or texts.say("all")),
    ]
    for note in report.notes:
        reason = texts.say(_NOTES.get(note.note, mark("its header contradicts itself ({note})")), note=note.note)
        told_note = texts.say(
            "{path} is published as it is, without knowing its tensors: {reason}.", path=note.path, reason=reason
        )
        rows.append((texts.say("Note"), told_note))
    dropped = sum(package.dropped for variant in report.variants for package in variant.packages)
    if dropped:
        told_dropped = texts.count(
            "{n} difference was coded wrongly and replaced. Please report it.",
            "{n} differences were coded wrongly and replaced. Please report it.",
            dropped,
        )
        rows.append((texts.say("Note"), told_dropped))
    for refusal in report.refusals:
        told = render_error(refusal.code, refusal.params, language, "published-unchanged")
        rows.append((texts.say("Refused"), f"{told.what}\n{told.remedy}\n[{told.code}]"))
    return rows


def _step(report: PublishReport, texts: Texts) -> str:
    """The step that was taken and, where they differ, the one that the changes demand, with what they are."""
    assert report.demanded is not None
    lines = [step_name(report.step or report.demanded, texts.language)]
    if report.step is not None and STEPS.index(report.step) > STEPS.index(report.demanded):
        least = step_name(report.demanded, texts.language)
        lines = [texts.say("{step}, larger than what changed demands ({least})", step=lines[0], least=least)]
    lines += [change_sentence(change._asdict(), texts.language) for change in report.changes[:_CHANGES_SHOWN]]
    left = len(report.changes) - _CHANGES_SHOWN
    if left > 0:
        lines.append(texts.count("and {n} more", "and {n} more", left))
    return "\n".join(lines)


def package_rows(report: PublishReport, texts: Texts) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows of the table of packages."""
    say = texts.say
    headings = (say("Variant"), say("Package"), say("From"), say("Size"), say("Of the full one"), "")
    rows: list[tuple[str, ...]] = []
    for variant in report.variants:
        for package in variant.packages:
            base = " ".join(part for part in (package.base_version, package.base_variant) if part)
            size, share = "", ""
            if package.size_bytes is not None:
                size = units.size(package.size_bytes, texts.language)
                share = f"{package.size_bytes / variant.full_bytes:.1%}" if variant.full_bytes else ""
            note = texts.say(_SKIPPED[package.skipped]) if package.skipped else ""
            rows.append((variant.name, texts.say(_MODES[package.mode]), base, size, share, note))
    return headings, rows


def publish_object(report: PublishReport) -> dict[str, object]:
    """A publishing report as JSON values."""
    return {
        "model": report.model,
        "version": report.version,
        "predecessor": report.predecessor,
        "dry_run": report.dry_run,
        "already_published": report.already_published,
        "variants": [
            {
                "name": each.name,
                "files": each.files,
                "size_bytes": each.size_bytes,
                "full_bytes": each.full_bytes,
                "packages": [_package_object(package) for package in each.packages],
            }
            for each in report.variants
        ],
        "new_packs": report.new_packs,
        "new_bytes": report.new_bytes,
        "reused_bytes": report.reused_bytes,
        "manifest_bytes": report.manifest_bytes,
        "device_classes": report.device_classes,
        "device_models": report.device_models,
        "step": report.step,
        "demanded_step": report.demanded,
        "changes": [change._asdict() for change in report.changes],
        "notes": [{"path": each.path, "note": each.note} for each in report.notes],
        "refusals": [{"code": each.code, "params": each.params} for each in report.refusals],
        "snapshot": report.snapshot,
    }


def _package_object(package: PackageReport) -> dict[str, object]:
    return {
        "mode": package.mode,
        "base_version": package.base_version,
        "base_variant": package.base_variant,
        "size_bytes": package.size_bytes,
        "skipped": package.skipped,
        "dropped": package.dropped,
    }
