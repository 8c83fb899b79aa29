"""Clause 5.1: safe, told first, never silent."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from modelota.conformance.chapters.answers import unasked
from modelota.conformance.chapters.attempts import claim_refused
from modelota.conformance.chapters.interruptions import allowance_bytes, interruptions
from modelota.conformance.chapters.main_story import Installation, bad_release, first_install, second_update
from modelota.conformance.chapters.owners import LANGUAGES, Owner, owners
from modelota.conformance.row import Examination, Text, Unmeasurable
from modelota.conformance.stage import Stage


def harmless(stage: Stage) -> Examination:
    """5.1-a: a successful and a failed update with everything outside the device root read-only."""
    if not stage.sandbox:
        raise Unmeasurable(
            Text(
                "本机不能建立挂载命名空间（unshare），无法把其余目录设为只读",
                "no mount namespace can be made here (unshare), so nothing can be held read-only",
            )
        )
    seen = Examination(
        {"read_only": "everything outside the device root, by mount namespace; a probe beside it failed"}
    )
    update, bad = stage.chapter(second_update), stage.chapter(bad_release)
    seen.claim("update-done-with-the-rest-read-only", update.outcome["result"] == "done", update.outcome["result"])
    seen.claim("bad-update-failed-with-the-rest-read-only", bad.outcome["result"] == "failed", bad.outcome["result"])
    assert update.old_slot_hashes is not None
    before, after = update.old_slot_hashes
    seen.claim("version-in-use-unchanged-by-the-update", before == after, {"before": before, "after": after})
    same = bad.tree_before == bad.tree_after
    seen.claim("version-in-use-unchanged-by-the-bad-one", same, {"before": bad.tree_before, "after": bad.tree_after})
    return seen


def compatible(stage: Stage) -> Examination:
    """5.1-b: preflight, self-test on this device, and the contract of the endpoint that other applications use."""
    seen = Examination()
    for installation in (stage.chapter(first_install), stage.chapter(second_update)):
        version = installation.table["version"]
        events = [entry["event"] for entry in installation.log if _concerns(entry, installation)]
        order = [name for name in events if name in {"recheck-passed", "fetched", "tests-passed", "activated"}]
        proven = order == ["recheck-passed", "fetched", "tests-passed", "activated"]
        seen.claim(f"{version}-checked-before-fetched-and-tested-before-used", proven, order)
        records = [kept["record"] for kept in installation.self_tests if kept["slot"].startswith(f"{version}+")]
        results = [result for record in records[-1:] for result in record["results"]]
        contract = [result for result in results if result["kind"] == "contract"]
        kept = bool(contract) and all(result["verdict"] == "passed" for result in contract)
        seen.claim(f"{version}-contract-of-the-endpoint-checked", kept, contract)
        passed = bool(records) and records[-1]["verdict"] == "passed"
        seen.claim(f"{version}-self-test-passed-on-this-device", passed, records[-1]["runtime"] if records else None)
    return seen


def told_first(stage: Stage) -> Examination:
    """5.1-c: the offer is shown, identified by its digest and journalled before any content is fetched."""
    seen = Examination()
    for installation in (stage.chapter(first_install), stage.chapter(second_update)):
        version = installation.table["version"]
        seen.at_most(f"{version}-content-before-decision", installation.bytes_before_decision, 0, "B")
        _claim_identity(seen, version, installation)
        _claim_shown(seen, version, installation)
        events = [entry["event"] for entry in installation.log if _concerns(entry, installation)]
        order = [name for name in events if name in {"offer-shown", "decided", "fetched"}]
        told = order[:1] == ["offer-shown"] and "fetched" in order and order.index("decided") < order.index("fetched")
        seen.claim(f"{version}-journal-shown-then-decided-then-fetched", told, order)
    _claim_page(seen, stage.chapter(owners))
    return seen


def _claim_page(seen: Examination, told: Owner) -> None:
    """The page says before the decision what the command line says, in both languages, and reaches nothing else."""
    offer, notes = told.offer["offer"], told.table["notes"]
    for language, text in told.pages.items():
        flat = "".join(text.split())
        wanted = {
            "version": offer["to_version"] in text,
            "contents": "".join(notes[LANGUAGES[language]].split())[:40] in flat,
            "size": any(number in text for number in _size_spellings(offer["planned_bytes"])),
            "time": any(word in text.lower() for word in _TIME_WORDS[language]),
            "digest": told.offer["digest"] in text,
        }
        missing = [name for name, there in wanted.items() if not there]
        seen.claim(f"page-shows-the-offer-in-{language}", not missing, {"missing": missing, "text": text[:1500]})
    policy = told.policy.get("content-security-policy", "")
    closed = "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    seen.claim("page-loads-nothing-from-elsewhere", closed, policy)


def _claim_strangers(seen: Examination, told: Owner) -> None:
    """The page answers nobody but who opened its link, and takes no answer to an offer that stands no more."""
    for name, status in told.strangers.items():
        seen.claim(f"page-refuses-{name}", 400 <= status < 500, status)
    stale = told.stale
    unmoved = stale["phase"] == "offered" and stale["content_bytes"] == 0
    seen.claim("a-page-of-an-older-offer-accepts-nothing", stale["changed"] and unmoved, stale)
    seen.claim("and-shows-the-one-that-stands", stale["status"] == 409 and stale["shows_the_new_one"], stale)


def _claim_identity(seen: Examination, version: str, installation: Installation) -> None:
    """The digest is the SHA-256 of the offer's canonical bytes, computed here anew."""
    offer, digest = installation.offer["offer"], installation.offer["digest"]
    canonical = json.dumps(offer, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    seen.claim(f"{version}-digest-identifies-the-offer", hashlib.sha256(canonical).hexdigest() == digest, digest)


def _claim_shown(seen: Examination, version: str, installation: Installation) -> None:
    """What the command line printed holds contents, size, time and permissions, in both languages."""
    offer, table = installation.offer["offer"], installation.table
    for language, key in (("zh", "zh-CN"), ("en", "en")):
        text = installation.texts[language]
        flat = "".join(text.split())
        wanted: dict[str, bool] = {
            "version": version in text,
            "contents": "".join(table["notes"][key].split())[:40] in flat,
            "digest": installation.offer["digest"] in text,
            "size": any(number in text for number in _size_spellings(offer["planned_bytes"])),
            "time": any(word in text.lower() for word in _TIME_WORDS[language]),
            "permissions": all(_names(name, text) for name in offer["permissions"]),
        }
        if offer["urgency_reason"]:
            wanted["urgency"] = "".join(offer["urgency_reason"][key].split()) in flat
        missing = [name for name, there in wanted.items() if not there]
        seen.claim(f"{version}-shown-in-{language}", not missing, {"missing": missing, "text": text[:1500]})


def _names(permission: str, text: str) -> bool:
    return any(word in text for word in (permission, *_PERMISSION_WORDS.get(permission, ())))


_PERMISSION_WORDS = {"microphone": ("麦克风",)}
_TIME_WORDS = {"zh": ("秒", "分钟", "小时"), "en": ("second", "minute", "hour")}


def _size_spellings(size_bytes: int) -> set[str]:
    """Ways to print a size: in SI and in binary units, with up to two decimals."""
    found = {str(size_bytes), f"{size_bytes:,}"}
    for base in (1000, 1024):
        for power in (1, 2, 3):
            value = size_bytes / base**power
            if value >= 0.1:
                found |= {f"{value:.2f}", f"{value:.1f}", f"{value:.0f}"}
    return found


def _concerns(entry: dict[str, Any], installation: Installation) -> bool:
    facts = entry["facts"]
    version = installation.table["version"]
    return bool(facts.get("digest") == installation.offer["digest"] or facts.get("to_version") == version)


def never_silent(stage: Stage) -> Examination:
    """5.1-d: without a recorded decision on that very offer nothing happens, whatever is tried."""
    seen = Examination()
    alone = stage.chapter(unasked)
    _claim_strangers(seen, stage.chapter(owners))
    claim_refused(seen, stage.chapter(first_install).attempts)
    urgent = stage.chapter(second_update)
    seen.claim("urgent-offer-says-why", bool(urgent.offer["offer"]["urgency_reason"]), urgent.offer["offer"]["kind"])
    for attempt in urgent.attempts:
        claim_refused(seen, [attempt._replace(name=f"urgent-{attempt.name}")])
    claim_refused(seen, alone.attempts)
    seen.at_most("content-for-a-device-left-alone", alone.content_bytes, 0, "B")
    seen.claim("it-looked-by-itself-and-only-offered", alone.checks >= 2 and alone.phase == "offered", alone.checks)
    lost = stage.chapter(interruptions)
    seen.claim("beyond-the-ceiling", lost.loss_attempt.refused, lost.loss_attempt.told)
    seen.claim("beyond-the-ceiling-after-a-check", lost.after_check_attempt.refused, lost.after_check_attempt.told)
    # bytes that were in flight when the process was killed cannot be known to it: they are allowed for
    limit = lost.offer["ceiling_bytes"] + allowance_bytes(lost.interrupted)
    seen.at_most("content-under-one-decision", lost.served_after_loss_bytes, limit, "B")
    return seen
