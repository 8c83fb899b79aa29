"""Clauses 6.3-c and 7.2-a: the owner's data and the version before outlive an update and the way back."""

from __future__ import annotations

from modelota.conformance.chapters.user_data import FIRST, Backup, Contents, OwnData, Travelled, own_data
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage


def not_lost(stage: Stage) -> Examination:
    """6.3-c: after each way back the former state is there, and what was written before and after is in the device."""
    told, seen = stage.chapter(own_data), Examination()
    for travelled in told.trips:
        _claim_returned(seen, travelled)
    # the stand-in engine notes at every start which layout the data have that it is given
    seen.claim("version-before-meets-only-its-layout", set(told.layouts_met) == {"1"}, told.layouts_met)
    return seen


def _claim_returned(seen: Examination, travelled: Travelled) -> None:
    name, same = travelled.trip.name, travelled.trip.layout == 1
    back = travelled.active == FIRST and travelled.serves == FIRST
    seen.claim(f"{name}-version-before-serves", back, {"active": travelled.active, "serves": travelled.serves})
    wrote = travelled.newer.keys() > travelled.before.keys()
    if same:
        kept = travelled.after == travelled.newer and not travelled.beside
        seen.claim(f"{name}-keeps-what-was-written", wrote and kept, _names(travelled))
        return
    changed = any(travelled.newer[each] != was for each, was in travelled.before.items() if each in travelled.newer)
    restored = travelled.after == travelled.before
    seen.claim(f"{name}-data-of-before-in-place", wrote and changed and restored, _names(travelled))
    seen.claim(f"{name}-newer-data-beside", travelled.beside == [travelled.newer], len(travelled.beside))


def _names(travelled: Travelled) -> dict[str, object]:
    return {"before": dict(travelled.before), "newer": dict(travelled.newer), "after": dict(travelled.after)}


def saved_first(stage: Stage) -> Examination:
    """7.2-a: a sealed copy of the data before each update; the version before stays as it is during the watch."""
    told, seen = stage.chapter(own_data), Examination()
    for travelled in told.trips:
        name, kept, copy = travelled.trip.name, travelled.kept, travelled.copy
        stays = kept.phase == "watching" and kept.state == "previous"
        facts = {"phase": kept.phase, "state": kept.state, "writable": kept.writable}
        seen.claim(f"{name}-version-before-stays-read-only", stays and not kept.writable, facts)
        unchanged = len(set(kept.trees)) == 1 and travelled.serves == FIRST
        seen.claim(f"{name}-version-before-unchanged-and-back", unchanged, {"trees": kept.trees})
        seen.claim(f"{name}-copy-is-private", copy.modes == ("0o600", "0o700"), copy.modes)
        hidden = copy.windows == 0 and copy.control_windows > 0
        searched = {"found": copy.windows, "in_the_data": copy.control_windows, "size_bytes": copy.size_bytes}
        seen.claim(f"{name}-copy-is-sealed", hidden and copy.size_bytes > 0, searched)
        seen.claim(f"{name}-copy-is-on-record", copy.told_bytes == copy.size_bytes, copy.told_bytes)
        if travelled.trip.layout != 1:  # it was put back, so it can be compared byte by byte
            seen.claim(f"{name}-copy-restored-identically", _identical(travelled.after, travelled.before))
    _claim_carried_over(seen, told)
    return seen


def _identical(found: Contents, wanted: Contents) -> bool:
    return bool(wanted) and found == wanted


def _claim_carried_over(seen: Examination, told: OwnData) -> None:
    backup: Backup = told.backup
    made = backup.made.status == 0 and backup.mode == "0o600" and backup.windows == 0
    seen.claim("backup-is-encrypted", made, {"mode": backup.mode, "found": backup.windows})
    refused = backup.wrong.status != 0 and backup.wrong.code == "backup-not-opened"
    seen.claim("backup-opens-with-its-passphrase-only", refused, backup.wrong.code)
    restored = backup.restored.status == 0 and _identical(backup.imported, backup.exported)
    facts = {"status": backup.restored.status, "entries": len(backup.imported)}
    seen.claim("backup-identical-on-another-device", restored, facts)
