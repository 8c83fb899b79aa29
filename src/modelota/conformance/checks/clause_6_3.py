"""Clause 6.3: what sends a device back, and how long the way back takes."""

from __future__ import annotations

from typing import Any, Final

from modelota.conformance.chapters.kept import FIRST as KEPT_VERSION
from modelota.conformance.chapters.kept import OLDER as REMOTE_VERSION
from modelota.conformance.chapters.kept import LongWayBack, SealedWayBack, ways_back
from modelota.conformance.chapters.main_story import rollback
from modelota.conformance.chapters.watched import FIRST, WISHED, Provoked, watched
from modelota.conformance.checks.clause_5_3 import claim_told
from modelota.conformance.row import Examination, Text
from modelota.conformance.stage import Stage

Json = dict[str, Any]

ROLLBACK_LIMIT_S: Final = 300
_BUSY: Final = Text(
    "本机过于繁忙，速度自检没有结论；其余触发条件已检验",
    "this machine was too busy for a self-test of speed to come to a result; the other triggers were exercised",
)


def triggered(stage: Stage) -> Examination:
    """6.3-a: abnormal operation, the user's wish, performance below what was there or promised: each goes back."""
    told, seen = stage.chapter(watched), Examination()
    for provoked in told.provoked:
        _claim_provoked(seen, provoked)
    wish = told.wish
    asked = bool(wish.asked_by) and all(authority.startswith("uid:") for authority in wish.asked_by)
    facts = {"seconds": round(wish.seconds, 1), "active": wish.active, "serves": wish.serves, "asked_by": wish.asked_by}
    back = wish.status == 0 and wish.active == FIRST and wish.serves == FIRST
    seen.claim("user-wish-goes-back", back and asked, facts)
    seen.claim("user-wish-is-not-offered-again", wish.offered != WISHED, {"offered": wish.offered})
    return seen


def _claim_provoked(seen: Examination, provoked: Provoked) -> None:
    trial, error = provoked.trial, provoked.outcome["error"] or {}
    if provoked.inconclusive:
        kept = provoked.active == FIRST and provoked.serves == FIRST
        seen.claim(f"{trial.trigger}-waits-with-the-version-before", kept, {"outcome": provoked.outcome})
        seen.still_missing(_BUSY)
        return
    failed = provoked.outcome["result"] == "failed" and error.get("code") == trial.code
    in_use = provoked.came_into_use != trial.before_use
    facts = {"seconds": round(provoked.seconds, 1), "error": error, "was_in_use": provoked.came_into_use}
    seen.claim(f"{trial.trigger}-goes-back", failed and in_use and provoked.active == FIRST, facts)
    seen.claim(f"{trial.trigger}-version-before-serves", provoked.serves == FIRST, provoked.serves)
    seen.claim(
        f"{trial.trigger}-is-not-offered-again", provoked.offered != trial.version, {"offered": provoked.offered}
    )
    claim_told(seen, trial.trigger, error, provoked.texts)


def quick_way_back(stage: Stage) -> Examination:
    """6.3-b: the rollback to the kept version, timed; a kept sealed version; a long way, told and chosen first."""
    back, told = stage.chapter(rollback), stage.chapter(ways_back)
    seen = Examination({"from": back.before, "to": back.status["active_version"]})
    seen.at_most("seconds", round(back.seconds, 2), ROLLBACK_LIMIT_S, "s")
    seen.claim("command-succeeded", back.done.status == 0, back.done.status)
    wanted = stage.family.first["version"]
    seen.claim("version-before-in-use", back.status["active_version"] == wanted, back.status["active_version"])
    serves = back.serves.status == 200 and back.serves.body["version"] == wanted
    seen.claim("version-before-serves", serves, back.serves.body)
    seen.claim("nothing-fetched", back.bytes == 0, back.bytes)
    _claim_sealed(seen, told.sealed)
    _claim_long(seen, told.long)
    return seen


def _claim_sealed(seen: Examination, back: SealedWayBack) -> None:
    seen.at_most("sealed-seconds", round(back.seconds, 2), ROLLBACK_LIMIT_S, "s")
    kept = back.state == "sealed" and back.kept_bytes > 0 and back.plain_windows == 0
    facts = {"state": back.state, "kept_bytes": back.kept_bytes, "plain_windows": back.plain_windows}
    seen.claim("sealed-version-is-kept-sealed", kept, facts)
    offer = back.view["offer"]
    planned, estimate_s = offer["planned_bytes"], back.view["estimate_s"]
    first = back.asked.code == "decision-required" and offer["direction"] == "rollback" and planned == 0
    told = estimate_s is not None and estimate_s <= ROLLBACK_LIMIT_S
    seen.claim("sealed-estimate-told-first", first and told, {"planned_bytes": planned, "estimate_s": estimate_s})
    facts = {"served_bytes": back.served_bytes, "requests_refused": back.requests}
    seen.claim("sealed-comes-back-offline", back.done.status == 0 and back.served_bytes == 0, facts)
    serves = back.active == KEPT_VERSION and back.serves == KEPT_VERSION
    seen.claim("sealed-serves", serves and back.identical, {"active": back.active, "identical": back.identical})


def _claim_long(seen: Examination, back: LongWayBack) -> None:
    estimate_s = back.view["estimate_s"]
    above = estimate_s is not None and estimate_s > ROLLBACK_LIMIT_S
    asked = back.asked.code == "decision-required" and back.view["offer"]["planned_bytes"] > 0
    seen.claim("long-estimate-above-the-limit", above and asked, {"estimate_s": estimate_s})
    minutes = "" if estimate_s is None else str(round(estimate_s / 60))
    warned = {"zh": "分钟", "en": "minutes"}
    shown = all(minutes in text and warned[language] in text for language, text in back.texts.items())
    seen.claim("long-estimate-shown-in-both-languages", bool(minutes) and shown, back.texts)
    refused = all(each.refused and each.moved_bytes == 0 and each.code == "return-takes-long" for each in back.refused)
    seen.claim("long-refused-without-the-choice", refused and bool(back.refused), [each.told for each in back.refused])
    chosen = back.chosen.status == 0 and back.active == REMOTE_VERSION
    seen.claim("long-goes-on-with-the-choice", chosen, {"status": back.chosen.status, "active": back.active})
