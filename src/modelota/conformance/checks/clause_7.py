"""Clause 7: life cycle: preflight, light deployment, protection at rest."""

from __future__ import annotations

from typing import Any, Final

from modelota.conformance.chapters.answers import answers
from modelota.conformance.chapters.crashes import crashes
from modelota.conformance.chapters.interruptions import interruptions
from modelota.conformance.chapters.kept import ways_back
from modelota.conformance.chapters.main_story import Damage, bad_release, damaged_slot, first_install, second_update
from modelota.conformance.chapters.packages import travels
from modelota.conformance.chapters.refusals import Demand, demands
from modelota.conformance.chapters.sealed import SealedSlot, sealed_slot
from modelota.conformance.chapters.staging import staged
from modelota.conformance.readings import files_below, windows_found, windows_of
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

MIB: Final = 1 << 20
_BEST_EFFORT, _IDLE = 2, 3
WORKER_LIMIT_BYTES: Final = 256 * MIB
SUPERVISOR_LIMIT_BYTES: Final = 30 * MIB

_ADVICE: Final = {"zh": ("升级", "更新"), "en": ("upgrad", "updat")}


def fits_the_device(stage: Stage) -> Examination:
    """7.1.1-a: a release that demands too much compute, memory or storage is refused before anything is fetched."""
    seen = Examination()
    for demand in stage.chapter(demands):
        if demand.requirement != "os":
            _claim_refused(seen, demand)
    return seen


def fits_the_system(stage: Stage) -> Examination:
    """7.1.1-b: a release for another OS, or a later one, is refused, with what can be done."""
    seen = Examination()
    for index, demand in enumerate(each for each in stage.chapter(demands) if each.requirement == "os"):
        _claim_refused(seen, demand, suffix=f"-{index + 1}")
        for language, words in _ADVICE.items():
            text = demand.texts[language]
            told = any(word in text.lower() for word in words)
            seen.claim(f"os-{index + 1}-says-what-to-do-in-{language}", told, text[:800])
    return seen


def _claim_refused(seen: Examination, demand: Demand, suffix: str = "") -> None:
    name = f"{demand.requirement}{suffix}"
    error = demand.refused[0] if demand.refused else {"code": None, "params": {}}
    params = error["params"]
    named = error["code"] == "requirement-not-met" and params.get("requirement") == demand.requirement
    seen.claim(f"{name}-refused", named and not demand.offered, error)
    seen.claim(f"{name}-no-content", demand.content_bytes == 0, demand.content_bytes)
    seen.claim(f"{name}-cannot-be-accepted", demand.accept.refused, demand.accept.told)
    need = str(params.get("need"))
    for language, text in demand.texts.items():
        # large numbers are printed with a unit, so only the code is looked for there
        told = error["code"] is not None and error["code"] in text and (len(need) > 12 or need in text)
        seen.claim(f"{name}-told-in-{language}", told or (need.isdigit() and str(error["code"]) in text), text[:600])


def light(stage: Stage) -> Examination:
    """7.1.2-a: memory of worker and supervisor, extra disk, and priority while an update is carried out."""
    seen = Examination()
    update, large = stage.chapter(second_update), stage.chapter(interruptions)
    assert update.sampler is not None
    for name, sampler in (("update", update.sampler), ("large-download", large.sampler)):
        peaks = sampler.peak_pss_bytes
        seen.at_most(f"{name}-worker-pss", _mib(peaks.get("worker", 0)), _mib(WORKER_LIMIT_BYTES), "MiB")
        seen.at_most(f"{name}-supervisor-pss", _mib(peaks.get("supervisor", 0)), _mib(SUPERVISOR_LIMIT_BYTES), "MiB")
        seen.claim(f"{name}-was-sampled", sampler.samples > 5 and "worker" in peaks, sampler.samples)
        nice, base = sampler.nice.get("worker", set()), max(sampler.nice.get("supervisor", {0}))
        facts = {"worker": sorted(nice), "supervisor": base}
        # a worker may be seen in the moment before it lowers itself
        seen.claim(f"{name}-worker-yields-the-processor", bool(nice) and max(nice) > base, facts)
        yields = any(_yields(each, max(nice or {0})) for each in sampler.worker_io)
        seen.claim(f"{name}-worker-yields-the-disk", yields, {"ioprio": sorted(sampler.worker_io)})
    for name, extra, told in (
        ("update", update.sampler.peak_disk_bytes - update.disk_before_bytes, update.offer["offer"]),
        ("large-download", large.sampler.peak_disk_bytes, large.offer),
    ):
        # logs and the file system's own blocks come on top of the content that the offer told of
        seen.at_most(f"{name}-extra-disk", _mib(extra), _mib(told["peak_space_bytes"] + MIB), "MiB")
    return seen


def _yields(io: tuple[int, int], nice: int) -> bool:
    """Idle class, or the lower half of best effort; without a class the nice value decides (ioprio_set(2))."""
    kind, level = io
    return kind == _IDLE or (kind == _BEST_EFFORT and level > 4) or (kind == 0 and (nice + 20) // 5 > 6)


def _mib(size_bytes: int) -> float:
    return round(size_bytes / MIB, 1)


def reported(stage: Stage) -> Examination:
    """7.1.2-c: the report of an update has time, places and resources, as JSON and as a page."""
    seen = Examination()
    update = stage.chapter(second_update)
    report = update.reports[0]["report"] if update.reports else {}
    digest = update.offer["digest"]
    seen.claim("report-of-the-update", report.get("offer_digest") == digest, report.get("offer_digest"))
    steps = {step["step"]: step["seconds"] for step in report.get("steps", ())}
    wanted = {"rechecking", "fetching", "verifying", "deploying", "testing", "activating"}
    timed = wanted <= steps.keys() and all(seconds is not None for seconds in steps.values())
    seen.claim("time-of-every-step", timed, steps)
    slot = report.get("paths", {}).get("slot", "")
    seen.claim("place-of-the-version", slot.endswith(f"/{update.table['version']}+{report.get('to_variant')}"), slot)
    figures = {name: report.get(name) for name in ("fetched_bytes", "written_bytes", "cpu_s", "peak_memory_bytes")}
    seen.claim("resources-measured", all(figure is not None for figure in figures.values()), figures)
    page = stage.scratch / "report.html"
    for language in ("zh", "en"):
        done = stage.main_device.command("report", "--html", str(page), "--lang", language)
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        told = text.startswith("<!doctype html>") and "<script" not in text and "http" not in text.split("<body>")[0]
        seen.claim(f"page-in-{language}", done.status == 0 and told, done.out[:300])
    return seen


def tamper_proof(stage: Stage) -> Examination:
    """7.1.2-b: one byte changed at rest: the engine does not load it, the person is told, and has it repaired."""
    damage, seen = stage.chapter(damaged_slot), Examination()
    seen.claim("damaged-file-not-loaded", damage.answer.status >= 400, damage.answer.body)
    seen.claim("damage-named", damage.answer.code == "slot-damaged", damage.answer.code)
    chinese = any("\u4e00" <= char <= "\u9fff" for char in damage.texts["zh"])
    seen.claim("told-in-both-languages", chinese and all("slot-damaged" in t for t in damage.texts.values()))
    _claim_repaired(seen, damage, stage.family.first["version"])
    first = stage.chapter(first_install)
    plain = b"".join(path.read_bytes() for path in stage.family.plain(first.table))
    lying = b"".join(path.read_bytes() for path in files_below(stage.chapter(staged)))
    hidden = bool(lying) and windows_found(lying, windows_of(plain)) == 0
    seen.claim("staging-sealed", hidden, {"staged_bytes": len(lying)})
    _claim_sealed_slot(seen, stage.chapter(sealed_slot))
    kept = stage.chapter(ways_back).sealed
    facts = {"kept_bytes": kept.kept_bytes, "plain_windows": kept.plain_windows}
    seen.claim("archived-versions-sealed", kept.kept_bytes > 0 and kept.plain_windows == 0, facts)
    seen.evidence["deviations"] = [
        "without `at_rest = sealed` the deployed version lies in plain below the device root (the default)"
    ]
    return seen


def _claim_sealed_slot(seen: Examination, told: SealedSlot) -> None:
    """It serves out of memory, nothing of it lies in plain on the disk, and one changed byte keeps it from loading."""
    serves = len(told.answers) == 2 and all("1.1.1" in answer for answer in told.answers) and told.serves == "1.1.1"
    seen.claim("sealed-slot-serves-before-and-after", serves, told.answers)
    facts = {"searched_bytes": told.searched_bytes, "found": told.plain_windows, "in_sources": told.control_windows}
    hidden = told.plain_windows == (0, 0) and told.control_windows > 0 and not told.looks_plain
    seen.claim("sealed-slot-nowhere-in-plain", hidden and told.searched_bytes > 0, facts)
    seen.claim("sealed-slot-opened-into-memory", bool(told.in_memory), told.in_memory)
    stopped = told.damaged.status >= 400 and told.damaged.code == "slot-damaged"
    seen.claim("sealed-slot-changed-is-not-loaded", stopped, told.damaged.body)
    mended = told.asked.code == "decision-required" and told.repaired.status == 0
    seen.claim("sealed-slot-repaired", mended, {"asked": told.asked.code, "repaired": told.repaired.status})
    facts = {"backup_bytes": told.backup_bytes, "found": told.backup_windows}
    seen.claim("backup-of-user-data-sealed", told.backup_bytes > 0 and told.backup_windows == 0, facts)


def _claim_repaired(seen: Examination, damage: Damage, version: str) -> None:
    """Found by reading everything, mended by an offer for what is missing, and whole again."""
    slots: list[dict[str, Any]] = next((each["slots"] for each in damage.found.objects if "slots" in each), [])
    damaged = {(slot["version"], file["path"]) for slot in slots for file in slot["damaged"]}
    seen.claim("found-by-verifying", damaged == {(version, damage.file)} and damage.found.status != 0, slots)
    offer = damage.offer or {}
    asked = damage.asked.code == "decision-required" and offer.get("direction") == "repair"
    seen.claim("repair-asks-first", asked and damage.bytes_before_decision == 0, damage.asked.code)
    facts = {"planned_bytes": offer.get("planned_bytes"), "full_bytes": offer.get("full_bytes")}
    facts |= {"served_bytes": damage.repair_bytes}
    fetched = bool(offer) and 0 < damage.repair_bytes == offer["planned_bytes"] < offer["full_bytes"]
    seen.claim("repair-fetches-only-what-is-missing", fetched, facts)
    seen.claim("repaired-bit-identically", damage.repaired.status == 0 and damage.identical, damage.repaired.code)
    seen.claim("nothing-damaged-afterwards", damage.clean.status == 0, damage.clean.out[-600:])
    serves = damage.serves.status == 200 and damage.serves.body["version"] == version
    seen.claim("serves-afterwards", serves, damage.serves.body)


def tidy(stage: Stage) -> Examination:
    """7.2-b: after success, failure, rollback, cancelling and crashes nothing is left that does not belong there."""
    seen = Examination({"crashes": "SIGKILL at a fail point; a loss of power is not provoked"})
    for installation in (stage.chapter(first_install), stage.chapter(second_update)):
        seen.claim(f"{installation.table['version']}-success", not installation.left_over, installation.left_over)
    bad = stage.chapter(bad_release)
    failed = bad.outcome["result"] == "failed"
    seen.claim("failed-self-test", failed and not bad.left_over, {"left": bad.left_over})
    cancel = stage.chapter(answers).seen["cancel"]
    seen.claim("cancelled", cancel["result"] == "cancelled" and cancel["left_in_staging"] == 0, cancel)
    for backs in stage.chapter(travels).returns.values():
        for back in backs:
            seen.claim(f"rollback to {back.release.name}", not back.left_over, back.left_over)
    told = stage.chapter(crashes)
    for crash in told:
        who = "agent" if crash.agent_died else "worker"
        facts = {"killed": who, "result": crash.outcome["result"], "left": crash.left_over}
        seen.claim(f"crash-at-{crash.point}", crash.outcome["result"] == "done" and not crash.left_over, facts)
    died = {crash.agent_died for crash in told}
    seen.claim("agent-and-worker-were-killed", died == {True, False}, [crash.agent_died for crash in told])
    return seen
