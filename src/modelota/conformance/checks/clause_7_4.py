"""Clause 7.4: cleaning: what is ours goes, nothing else does, and nobody is disturbed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

from modelota.conformance.chapters.cleaned import Cleaned, cleaned
from modelota.conformance.chapters.planting import DEMANDED
from modelota.conformance.chapters.removals import removals
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

Json = dict[str, Any]

LEFT_LIMIT_PERCENT: Final = 1.0
CLEANING_LIMIT_S: Final = 180.0
_IDLE: Final = 3  # ioprio_set(2): IOPRIO_CLASS_IDLE
_NICEST: Final = 19
_RESIDUES_MIN, _KINDS_MIN = 500, 12


def nothing_else(stage: Stage) -> Examination:
    """7.4.1: what each part of the demand names goes, shown and confirmed first; no decoy is touched."""
    told = stage.chapter(cleaned)
    seen = Examination(_planted(told))
    left = Counter(told.tree.residues[path] for path in told.left)
    for demanded, kinds in DEMANDED.items():
        counts = {kind: left[kind] for kind in kinds}
        seen.claim(f"{demanded.replace(' ', '-')}-gone", not any(counts.values()), {"left": counts})
    seen.claim("nothing-went-unconfirmed", not told.undone, told.undone[:20])
    shown = {language: text[:600] for language, text in told.shown.items()}
    chinese = any("\u4e00" <= char <= "\u9fff" for char in told.shown["zh"])
    listed = all(told.plan["findings"][0]["path"] in text for text in told.shown.values())
    seen.claim("shown-first-in-both-languages", chinese and listed, shown)
    _claim_decoys(seen, told)
    proven = {each["path"]: each["result"] for each in told.proof["removals"]}
    wrong = [path for path, result in proven.items() if result == "removed" and Path(path).exists()]
    seen.claim("proof-is-true", bool(proven) and not wrong, {"removals": Counter(proven.values()), "wrong": wrong})
    return seen


def thorough(stage: Stage) -> Examination:
    """7.4.2-a: at most 1 % of what is provably the model's is left, no decoy is touched; some goes by itself."""
    told = stage.chapter(cleaned)
    seen = Examination(_planted(told))
    total = len(told.tree.residues)
    seen.at_most("left-behind", round(100 * len(told.left) / total, 2), LEFT_LIMIT_PERCENT, "%")
    kinds = len(set(told.tree.residues.values()))
    enough = total >= _RESIDUES_MIN and kinds >= _KINDS_MIN
    seen.claim("planted-enough", enough, {"residues": total, "kinds": kinds})
    _claim_decoys(seen, told)
    certain = sum(each["certainty"] == "certain" for each in told.plan["findings"])
    unnamed = {each["id"] for each in told.proof["removals"]} - set(told.named)
    facts = {"certain": certain, "named": len(told.named), "removed_unnamed": len(unnamed)}
    seen.claim("probable-goes-only-when-named", len(unnamed) == certain, facts)
    automatic = stage.chapter(removals)
    seen.claim("basic-cleaning-by-itself-after-uninstall", not automatic.stranger_left)
    return seen


def undisturbing(stage: Stage) -> Examination:
    """7.4.2-b: timed, and at the lowest priority for processor and disk, read from the kernel meanwhile."""
    told = stage.chapter(cleaned)
    seen = Examination(_planted(told))
    seen.at_most("seconds", round(told.seconds, 2), CLEANING_LIMIT_S, "s")
    files = told.plan["files_seen"]
    rate = {"files": files, "scan_s": round(told.scan_seconds, 2), "files_per_s": round(files / told.scan_seconds)}
    seen.claim("every-file-looked-at", files >= len(told.tree.decoys), rate)
    idle = {name: (nice, io) for name, (nice, io) in told.priorities.items() if io is not None and io[0] == _IDLE}
    seen.claim("disk-only-when-idle", bool(idle), {"threads": told.priorities})
    seen.claim("processor-only-when-idle", any(nice == _NICEST for nice, _ in idle.values()), {"threads": idle})
    return seen


def _planted(told: Cleaned) -> Json:
    return {
        "planted": {
            "residues": len(told.tree.residues),
            "residue_kinds": len(set(told.tree.residues.values())),
            "decoys": len(told.tree.decoys),
            "decoy_kinds": len(set(told.tree.kinds.values())),
            "held_open": len(told.held),
            "ledger": "rows for what is registered were added to the record of the removed agent",
        }
    }


def _claim_decoys(seen: Examination, told: Cleaned) -> None:
    kinds = Counter(told.tree.kinds[path] for path in told.touched)
    seen.claim("no-decoy-touched", not told.touched, {"touched": kinds, "compared": len(told.tree.decoys)})
