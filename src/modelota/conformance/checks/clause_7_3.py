"""Clause 7.3: uninstalling: for both reasons, confirmed, proven, told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from modelota.conformance.chapters.owners import owners
from modelota.conformance.chapters.removals import STRANGER, Removal, Removals, removals
from modelota.conformance.readings import census_bytes
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

_SLACK_BYTES: Final = 64 << 10  # logs grow between the two readings, the engine's last words among them
_CODES: Final = {
    "without-confirmation": "decision-required",
    "with-a-digest-that-never-was": "no-plan",
    "with-the-digest-of-an-older-plan": "plan-changed",
    "end-of-service-that-has-not-come": "service-goes-on",
    "hardware-that-suits": "hardware-suits",
    "something-else-typed": "cancelled-by-user",
}


def confirmed(stage: Stage) -> Examination:
    """7.3.1: by the user and by the end of service, each planned, shown and confirmed; a reminder of the backup."""
    told, seen = stage.chapter(removals), Examination()
    for name, attempt in told.undone.items():
        seen.claim(f"refused-{name}", attempt.refused and attempt.code == _CODES[name], attempt.code)
    seen.claim("nothing-went-unconfirmed", not told.lost, told.lost)
    reminded = "modelota device backup" in told.prompted.out
    seen.claim("reminder-of-the-backup", reminded, told.prompted.out[-900:])
    page = stage.chapter(owners)
    seen.claim("backup-offered-on-the-page", "Back up" in page.removal or "backup" in page.removal, page.removal[:900])
    seen.claim("an-unknown-plan-on-the-page-removes-nothing", page.kept is not None, page.kept)
    for trigger, removal in (("user", told.by_user), ("end-of-service", told.by_end)):
        planned = [item["path"] for item in removal.plan["items"]]
        listed = all(path in text for path in planned for text in removal.shown.values())
        seen.claim(f"{trigger}-shown-first-in-both-languages", bool(planned) and listed and _differ(removal), planned)
        facts = {"reason": removal.proof["reason"], "status": removal.done.status}
        seen.claim(f"{trigger}-carried-out", removal.done.status == 0 and removal.proof["reason"] == trigger, facts)
    seen.claim("end-of-service-told", told.ended is not None, told.ended)
    seen.evidence["end-of-service-signed-by"] = "the releases role; no command does it yet"
    return seen


def proven(stage: Stage) -> Examination:
    """7.3.2: the proof against what was on the disk before and is afterwards; the agent's own files; what is told."""
    told, seen = stage.chapter(removals), Examination()
    for name, removal in (("uninstall", told.by_user), ("uninstall-at-end-of-service", told.by_end)):
        _claim_uninstalled(seen, name, removal, told)
    _claim_left(seen, told)
    return seen


def _claim_uninstalled(seen: Examination, name: str, removal: Removal, told: Removals) -> None:
    proven = {Path(item["path"]): item for item in removal.proof["items"]}
    gone = {path for path in removal.before if path not in removal.after and told.place in (path, *path.parents)}
    covered = {path for path in gone if any(item in (path, *path.parents) for item in proven)}
    # directories that are empty then go along; a file of unknown origin is the cleaning's, which has its own proof
    unnamed = gone - covered - {told.place / "slots", told.place, told.place / STRANGER}
    facts = {"gone": len(gone), "proven_items": len(proven), "not_in_the_proof": sorted(map(str, unnamed))}
    seen.claim(f"{name}-proof-names-everything-that-went", bool(gone) and not unnamed, facts)
    still = sorted(str(path) for path in proven if path in removal.after)
    seen.claim(f"{name}-everything-in-the-proof-is-gone", bool(proven) and not still, still)
    measured = sum(census_bytes(removal.before, path) for path in proven)
    claimed = sum(item["size_bytes"] for item in proven.values() if item["result"] == "removed")
    sizes = {"proof_bytes": claimed, "measured_bytes": measured, "allowed_difference_bytes": _SLACK_BYTES}
    seen.claim(f"{name}-bytes-agree", measured > 0 and abs(claimed - measured) <= _SLACK_BYTES, sizes)
    stays = [told.place / name for name in ("userdata", "backups", STRANGER)]
    kept = [path for path in removal.after if told.place in path.parents]
    foreign = sorted(str(path) for path in kept if not any(each in (path, *path.parents) for each in stays))
    seen.claim(f"{name}-leaves-only-the-user-s-data", not foreign, foreign)
    beside = {path for path in removal.before if path not in removal.after} - gone
    seen.claim(f"{name}-no-engine-left", removal.engines == 0, {"engines": removal.engines})
    others = sorted(str(path) for path in beside if not _of_engines(path, told.root))
    seen.claim(f"{name}-nothing-else-went", not others, others)
    _claim_told(seen, name, removal, [str(path) for path in proven])


def _claim_left(seen: Examination, told: Removals) -> None:
    """The agent: program's own state, settings, keys, sockets and units go; each is in the proof."""
    removal = told.agent
    proven = [Path(item["path"]) for item in removal.proof["items"]]
    seen.claim("agent-root-is-gone", bool(removal.before) and not removal.after, [str(path) for path in removal.after])
    units = {path for path in removal.units_before if path not in removal.units_after}
    left = sorted(str(path) for path in removal.units_after)
    seen.claim("agent-unit-is-gone", len(units) >= 2 and not any(".service" in path for path in left), left)
    uncovered = sorted(
        str(path)
        for path in {*removal.before, *units}
        if not any(item in (path, *path.parents) for item in proven) and not _passing(path)
    )
    seen.claim("agent-proof-names-everything-that-went", bool(proven) and not uncovered, uncovered)
    results = sorted({item["result"] for item in removal.proof["items"]})
    seen.claim("agent-proof-refused-nothing", set(results) <= {"removed", "gone"}, results)
    config = told.root / "config.toml"
    seen.claim("agent-settings-and-keys-went", config in removal.before and told.root / "keys" in removal.before)
    _claim_told(seen, "agent", removal, [str(told.root)])


def _claim_told(seen: Examination, name: str, removal: Removal, paths: list[str]) -> None:
    text = removal.done.out
    told = all(path in text for path in paths) and _is_chinese(text) == (removal.language == "zh")
    seen.claim(f"{name}-result-told-in-{removal.language}", removal.done.status == 0 and told, text[-1200:])


def _differ(removal: Removal) -> bool:
    return _is_chinese(removal.shown["zh"]) and not _is_chinese(removal.shown["en"])


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def _of_engines(path: Path, root: Path) -> bool:
    """Sockets and logs come and go while an agent runs, and so does what SQLite keeps beside its database."""
    return root / "run" in path.parents or _passing(path)


def _passing(path: Path) -> bool:
    return path.name.startswith("agent.db-")
