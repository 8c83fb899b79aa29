"""What publishing commands show: progress and reports."""

from __future__ import annotations

import sys

from modelota.cli.session import Session
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.texts import Texts, mark
from modelota.repository.report import PublishProgress, PublishReport

_STEPS = {
    "reading": mark("reading"),
    "packing": mark("packing and sealing"),
    "uploading": mark("uploading"),
    "committing": mark("making it visible"),
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
    for refusal in report.refusals:
        told = render_error(refusal.code, refusal.params, language, "published-unchanged")
        rows.append((texts.say("Refused"), f"{told.what}\n{told.remedy}\n[{told.code}]"))
    return rows


def publish_object(report: PublishReport) -> dict[str, object]:
    """A publishing report as JSON values."""
    return {
        "model": report.model,
        "version": report.version,
        "predecessor": report.predecessor,
        "dry_run": report.dry_run,
        "already_published": report.already_published,
        "variants": [
            {"name": each.name, "files": each.files, "size_bytes": each.size_bytes, "full_bytes": each.full_bytes}
            for each in report.variants
        ],
        "new_packs": report.new_packs,
        "new_bytes": report.new_bytes,
        "reused_bytes": report.reused_bytes,
        "manifest_bytes": report.manifest_bytes,
        "device_classes": report.device_classes,
        "device_models": report.device_models,
        "refusals": [{"code": each.code, "params": each.params} for each in report.refusals],
        "snapshot": report.snapshot,
    }
