"""Clause 6: versions: numbers, contents, the way back, independence."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from modelota.conformance.chapters.archived import archived
from modelota.conformance.chapters.main_story import rollback, second_update
from modelota.conformance.chapters.packages import Release, published_line
from modelota.conformance.chapters.promises import promises
from modelota.conformance.chapters.refusals import versions
from modelota.conformance.chapters.steps import STEPS, steps
from modelota.conformance.checks.clause_5_2_packages import claim_lineage
from modelota.conformance.readings import blake3_hash
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

RUN_MAX_S = 3600  # what was published in this run has a release time of the last hour


def positive_numbers(stage: Stage) -> Examination:
    """6.1-a: the publisher's command refuses and accepts version numbers."""
    told, seen = stage.chapter(versions), Examination()
    for text, refusal in told.refused.items():
        seen.claim(f"refuses {text!r}", refusal["code"] in {"version-invalid", "description-invalid"}, refusal)
    zero = told.refused["1.0.0"]
    seen.claim("says-why-1.0.0", zero["code"] == "version-invalid" and zero["detail"] == "not-positive", zero)
    for text, code in told.accepted.items():
        seen.claim(f"accepts {text!r}", code is None, {"code": code})
    for text, refusal in told.skipped.items():
        seen.claim(f"refuses {text} after 1.1.1", refusal["code"] is not None, refusal)
    for text, code in told.followed.items():
        seen.claim(f"accepts {text} after 1.1.1", code is None, {"code": code})
    return seen


def steps_that_mean_something(stage: Stage) -> Examination:
    """6.1-b: each change is refused under the step below its own, with the reason, and accepted under its own."""
    seen = Examination()
    for name, tried in stage.chapter(steps).items():
        order = list(STEPS)
        below = [step for step in tried.codes if order.index(step) < order.index(tried.demanded)]
        refused = all(tried.codes[step] == "version-step-too-small" for step in below)
        accepted = all(code is None for step, code in tried.codes.items() if step not in below)
        facts = {"codes": tried.codes, "reasons": tried.reasons, "least": tried.least}
        seen.claim(f"{name}-demands-{tried.demanded}", refused and accepted, facts)
        if below:
            seen.claim(f"{name}-told-why", bool(tried.reasons) and tried.least == STEPS[tried.demanded], facts)
    return seen


def one_content(stage: Stage) -> Examination:
    """6.1-c: the same version with other content, and the same content under another version."""
    told, seen = stage.chapter(versions), Examination()
    assert told.other_content is not None
    assert told.other_version is not None
    seen.claim("other-content-refused", told.other_content.refused, told.other_content.code)
    seen.claim("other-version-refused", told.other_version.refused, told.other_version.code)
    expected = {"other-content": "version-exists", "other-version": "version-content-conflict"}
    found = {"other-content": told.other_content.code, "other-version": told.other_version.code}
    seen.claim("each-for-its-own-reason", found == expected, found)
    seen.claim("repository-unchanged", told.unchanged)
    seen.claim("the-very-same-release-again-is-no-conflict", told.again is None, {"code": told.again})
    return seen


def traceable(stage: Stage) -> Examination:
    """6.2-a: the history tells development, contents, release time, device models and lineage of every release."""
    seen = Examination()
    line = stage.chapter(published_line)
    claim_lineage(seen, line)
    for model, releases in line.releases.items():
        told = {record["version"]: record for record in line.history[model]}
        for release in releases:
            _claim_record(seen, release, told.get(release.table["version"], {}))
    return seen


def kept(stage: Stage) -> Examination:
    """6.2-b: every release lies in a private place, whole, opens with the archive key alone, and can't be deleted."""
    told = stage.chapter(archived)
    seen = Examination({"kept_until": told.until})
    entries = {entry["version"]: entry for entry in told.entries}
    seen.claim("every-release-is-archived", sorted(entries) == sorted(told.released), sorted(entries))
    for version, entry in entries.items():
        seen.claim(f"{version}-complete", bool(entry["complete"]), entry["findings"])
        opened = {"opened": entry["opened_bytes"], "content": told.content_bytes[version]}
        same = entry["opened_bytes"] == told.content_bytes[version]
        seen.claim(f"{version}-opened-with-the-archive-key-alone", same, opened)
        wanted = {"manifest.json.zst", "notes.json", "test-report.json", "development.json", "entry.json"}
        seen.claim(f"{version}-with-its-documents", wanted <= set(told.documents[version]), told.documents[version])
    public, private = told.places
    seen.claim("in-a-place-of-its-own", not private.startswith(public), told.places)
    for name, attempt in told.early.items():
        seen.claim(f"not-deleted-{name}", attempt.refused and attempt.code == "kept-by-law", attempt.code)
    seen.claim("nothing-of-it-changed", told.unchanged)
    seen.claim("kept-to-the-last-second", told.late["before"] == "kept-by-law", told.late)
    seen.claim("may-go-after-that", told.late["after"] is None and told.left == 0, {**told.late, "left": told.left})
    return seen


def _claim_record(seen: Examination, release: Release, record: dict[str, Any]) -> None:
    """The record says what the description said, and its files are the source files, by BLAKE3 computed here."""
    table, name = release.table, release.name
    given = {key: value for key, value in table.get("provenance", {}).items() if value}
    kept = {key: value for key, value in record.get("provenance", {}).items() if value}
    seen.claim(f"{name}-development", kept == given, kept)
    seen.claim(f"{name}-notes", record.get("notes") == table["notes"])
    models = record.get("device_models")
    seen.claim(f"{name}-device-models", models == list(table.get("device_models", [])), models)
    at = str(record.get("released_at"))
    signed = at == release.manifest["released_at"]
    recent = signed and abs(datetime.fromisoformat(at).timestamp() - time.time()) < RUN_MAX_S
    seen.claim(f"{name}-release-time", recent, at)
    contents = {
        variant["name"]: {file["path"]: (file["size_bytes"], file["digest"]) for file in variant["files"]}
        for variant in record.get("variants", [])
    }
    own = {
        variant["name"]: {
            path: (source.stat().st_size, blake3_hash(source))
            for path, source in release.sources(variant["name"]).items()
        }
        for variant in table["variants"]
    }
    seen.claim(f"{name}-contents", contents == own, sorted(contents))


def keeps_its_promises(stage: Stage) -> Examination:
    """6.4-a: dropping a core interface or a core test is refused, and failing one in the real engine is, too."""
    told, seen = stage.chapter(promises), Examination()
    seen.claim("untested-is-refused", told.untested.refused, told.untested.code)
    seen.claim("and-says-so", told.untested.code == "test-report-missing", told.untested.code)
    seen.claim("the-first-passes-in-the-real-engine", set(told.first.values()) == {"passed"}, told.first)
    engines = {name: version for name, version in told.engines.items() if version}
    seen.claim("the-report-names-the-engine", bool(engines), engines)
    for code, attempt in told.refused.items():
        seen.claim(f"refused-{code}", attempt.refused and attempt.code == code, attempt.code)
    seen.claim("one-that-forgets-fails", "failed" in told.forgetful.values(), told.forgetful)
    seen.claim("core-tests-of-the-predecessor-were-run", set(told.core) <= set(told.ran), told.core)
    kept = told.kept is not None and not told.kept.refused
    seen.claim("one-that-keeps-everything-is-published", kept, told.kept.code if told.kept else None)
    return seen


def independent(stage: Stage) -> Examination:
    """6.4-b: two installed versions share no inode that can be written, no directory, socket or process."""
    back, update = stage.chapter(rollback), stage.chapter(second_update)
    first, second = back.slots
    seen = Examination({"slots": [first.name, second.name]})
    shared = sorted(_inodes(first) & _inodes(second))
    seen.at_most("shared-inodes", len(shared), 0, "1")
    nested = first in second.parents or second in first.parents or first == second
    seen.claim("own-directories", not nested)
    for own in ("cache", "log"):
        seen.claim(f"own-{own}", all((slot / own).is_dir() for slot in (first, second)))
    writable = [str(p.relative_to(slot)) for slot in (first, second) for p in _files(slot) if _can_write(p)]
    seen.claim("installed-files-read-only", not writable, writable)
    engines = update.engines
    seen.claim("two-engines-at-once", len({engine["pid"] for engine in engines}) >= 2, engines)
    one_each = all(len(engine["slots"]) == 1 for engine in engines)
    both = {engine["slots"][0] for engine in engines} == {first.name, second.name} if one_each else False
    seen.claim("each-engine-holds-files-of-its-own-slot", both, [engine["slots"] for engine in engines])
    sockets = [name for engine in engines for name in engine["sockets"]]
    seen.claim("own-sockets", len(sockets) >= 2 and len(sockets) == len(set(sockets)), sockets)
    logs = {slot.name: sorted(path.name for path in (slot / "log").iterdir()) for slot in (first, second)}
    seen.claim("each-engine-wrote-its-own-log", all(logs.values()), logs)
    return seen


def _inodes(slot: Path) -> set[tuple[int, int]]:
    return {(found.st_dev, found.st_ino) for found in (path.lstat() for path in (slot, *slot.rglob("*")))}


def _files(slot: Path) -> list[Path]:
    return [path for path in (slot / "files").rglob("*") if path.is_file()]


def _can_write(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o222) or (os.geteuid() != 0 and os.access(path, os.W_OK))
