"""Clause 5.3: detection, answers, progress, tests, and what follows a failure."""

from __future__ import annotations

from typing import Any, Final

from modelota.conformance.chapters.answers import Answers, answers, unasked
from modelota.conformance.chapters.conditions import CONDITIONS, HOLDER, Waited, waited
from modelota.conformance.chapters.failures import Failure, failures
from modelota.conformance.chapters.main_story import bad_release, first_install, second_update
from modelota.conformance.chapters.owners import SECOND, Owner, owners
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

Json = dict[str, Any]

_STEPS: Final = ("fetching", "verifying", "deploying", "testing")


def detected(stage: Stage) -> Examination:
    """5.3-a: a real check finds the release, journals it and tells about it, asked for or not."""
    seen = Examination()
    update = stage.chapter(second_update)
    journal = [entry["event"] for entry in update.log]
    seen.claim("check-journalled", "checked" in journal, journal.count("checked"))
    seen.claim("offer-journalled", "offer-made" in journal, journal.count("offer-made"))
    offered = update.offer["offer"]["to_version"]
    seen.claim("newest-release-found", offered == update.table["version"], offered)
    alone = stage.chapter(unasked)
    seen.claim("checks-of-its-own-accord", alone.checks >= 2, alone.checks)
    seen.claim("told-on-the-event-stream", alone.offers_told >= 1, alone.offers_told)
    _claim_notices(seen, stage.chapter(owners))
    return seen


def _claim_notices(seen: Examination, told: Owner) -> None:
    """An offer is told of once, over checks and restarts, and the notice leads to it."""
    about = [notice["digest"] for notice in told.notices]
    seen.claim("one-notice-for-each-offer", about.count(told.offer["digest"]) == 1, about)
    leads = [notice["path"] for notice in told.notices]
    seen.claim("the-notice-leads-to-the-offer", any(told.offer["digest"] in path for path in leads), leads)
    seen.claim("notified-on-the-event-stream", len(told.notified) == 1, told.notified)


def answered(stage: Stage) -> Examination:
    """5.3-b: what follows each answer and each control."""
    told = stage.chapter(answers)
    seen = Examination()
    _claim_answers(seen, told)
    _claim_controls(seen, told)
    kept = [entry["facts"].get("answer") for entry in told.log if entry["event"] == "decided"]
    seen.claim("every-answer-journalled", {"decline", "accept", "skip"} <= set(kept), kept)
    _claim_conditions(seen, stage.chapter(waited))
    _claim_life(seen, stage.chapter(owners))
    return seen


def _claim_life(seen: Examination, told: Owner) -> None:
    """An answer that is put off comes back, one that was given can be taken back, and all of them are on record."""
    later, revoked = told.later, told.revoked
    reminders = later["reminders"][later["before"] :]
    seen.claim("later-is-reminded-once", later["offer_stands"] and len(reminders) == 1, later)
    due = [reminder["due_at"] >= later["remind_at"] for reminder in reminders]
    seen.claim("not-before-its-time", all(due), reminders)
    back = revoked["status"] == 200 and revoked["offer_stands"] and revoked["content_bytes"] == 0
    seen.claim("an-accepted-answer-is-taken-back", bool(revoked["revocable"]) and back, revoked)
    seen.claim("only-once", revoked["twice"] >= 400, revoked["twice"])
    seen.claim("an-accepted-answer-expires", revoked["expires_at"] is not None, revoked["expires_at"])
    whole = all(each["authority"] and each["channel"] and each["at"] and each["state"] for each in told.answers)
    states = [each["state"] for each in told.answers]
    seen.claim("every-answer-on-record", whole and {"done", "revoked"} <= set(states), told.answers)


def _claim_conditions(seen: Examination, told: Waited) -> None:
    """Each condition, the time and the inhibitor keep it waiting, are told, and go away by being opened alone."""
    keepers = [f"inhibitor:{HOLDER}", *CONDITIONS]
    seen.claim("waits-for-everything-named", set(told.before) == {*keepers, "time"}, told.before)
    seen.claim("nothing-fetched-while-waiting", told.bytes_waiting == 0, told.bytes_waiting)
    holders = [(each["holder"], each["reason"]) for each in told.held]
    seen.claim("inhibitor-told-with-its-reason", holders == [(HOLDER, "writes slot b")], told.held)
    for number, (name, left) in enumerate(told.opened, 1):
        seen.claim(f"{name}-opened-alone", set(left) - {"time"} == set(keepers[number:]), left)
    holds = all(told.told[condition]["holds"] for condition in CONDITIONS)
    seen.claim("conditions-of-the-host-told", holds, told.told)
    times = {"not_before": told.not_before.isoformat(), "went_on_at": told.went_on_at.isoformat()}
    seen.claim("goes-on-by-itself-when-the-time-has-come", told.went_on_at >= told.not_before, times)
    seen.claim("is-carried-out-then", told.outcome["result"] == "done", told.outcome)
    unknown = all(code is not None for code in told.refused.values())
    seen.claim("unknown-conditions-and-times-refused", unknown, told.refused)


def _claim_answers(seen: Examination, told: Answers) -> None:
    decline, later, accept, skip = (told.seen[name] for name in ("decline", "later", "accept", "skip"))
    idle = decline["status"] == 200 and decline["phase"] == "idle" and not decline["offer_stands"]
    seen.claim("decline-ends-the-offer", idle and decline["content_bytes"] == 0, decline)
    stands = later["status"] == 200 and later["phase"] == "offered" and later["offer_stands"]
    seen.claim("later-keeps-the-offer", stands and later["content_bytes"] == 0, later)
    seen.claim("accept-fetches", accept["status"] == 200 and bool(accept["fetches"]), accept)
    gone = skip["status"] == 200 and skip["offered"] != skip["version"] and skip["content_bytes"] == 0
    seen.claim("skip-is-not-offered-again", gone, skip)


def _claim_controls(seen: Examination, told: Answers) -> None:
    pause, resume, cancel = (told.seen[name] for name in ("pause", "resume", "cancel"))
    halted = pause["status"] == 200 and pause["paused"] and pause["waits_for"] == ["person"]
    seen.claim("pause-stops-the-transfer", halted and pause["content_bytes"] == 0, pause)
    seen.claim("resume-goes-on", resume["status"] == 200 and resume["goes_on"], resume)
    ended = cancel["status"] == 200 and cancel["result"] == "cancelled" and cancel["active_version"] is None
    clean = cancel["left_in_staging"] == 0 and cancel["content_bytes"] == 0
    seen.claim("cancel-leaves-nothing", ended and clean, cancel)


def shows_progress(stage: Stage) -> Examination:
    """5.3-c: the event stream: steps in order, amounts that only grow, rate and time left."""
    seen = Examination()
    for installation in (stage.chapter(first_install), stage.chapter(second_update)):
        version = installation.table["version"]
        ids = [event["id"] for event in installation.events]
        seen.claim(f"{version}-ids-grow", ids == sorted(set(ids)), len(ids))
        progress = [event["data"] for event in installation.events if event["kind"] == "progress"]
        steps = list(dict.fromkeys(entry["step"] for entry in progress))
        seen.claim(f"{version}-steps-in-order", steps == list(_STEPS), steps)
        backwards = [step for step in steps if not _grows([entry for entry in progress if entry["step"] == step])]
        seen.claim(f"{version}-never-backwards", not backwards, {"backwards": backwards, "events": len(progress)})
        ends = {step: _last(progress, step) for step in steps}
        whole = all(end["total"] is not None and end["done"] == end["total"] for end in ends.values())
        seen.claim(f"{version}-each-step-ends-whole", whole, ends)
    slow = [event["data"] for event in stage.chapter(first_install).events if event["kind"] == "progress"]
    fetching = [entry for entry in slow if entry["step"] == "fetching"]
    rated = [e for e in fetching if e["done"] < e["total"] and e["rate_per_s"] and e["left_s"] is not None]
    seen.claim("rate-and-time-left-while-fetching", bool(rated), rated[-1] if rated else fetching[-3:])
    told = stage.chapter(owners)
    seen.claim("shown-on-the-page", "%" in told.progress or "B" in told.progress, told.progress[:600])
    seen.claim("the-end-shown-on-the-page", SECOND in told.done, told.done[:600])
    return seen


def _grows(entries: list[Json]) -> bool:
    done = [entry["done"] for entry in entries]
    return done == sorted(done) and all(entry["total"] is None or entry["done"] <= entry["total"] for entry in entries)


def _last(progress: list[Json], step: str) -> Json:
    entry = [each for each in progress if each["step"] == step][-1]
    return {"done": entry["done"], "total": entry["total"]}


def tested_in_the_engine(stage: Stage) -> Examination:
    """5.3-d: the record of the self-test in the real engine; a test that can't run blocks."""
    seen = Examination()
    update = stage.chapter(second_update)
    version = update.table["version"]
    records = [entry["record"] for entry in update.self_tests if entry["slot"].startswith(f"{version}+")]
    seen.claim("recorded", bool(records), [entry["slot"] for entry in update.self_tests])
    results = records[-1]["results"] if records else []
    seen.claim("in-the-real-engine", bool(records) and records[-1]["runtime"] == "llama.cpp")
    promised = _promised(update.table, update.offer["offer"]["to_variant"])
    ran = {result["id"] for result in results if result["verdict"] == "passed"}
    seen.claim("every-promised-functional-test-passed", promised <= ran, sorted(promised))
    speed = [result for result in results if result["kind"] == "performance" and result["figures"]]
    seen.claim("performance-measured", bool(speed), [result["figures"] for result in speed])
    told = stage.chapter(failures)
    verdicts = [result["verdict"] for entry in told.not_run_record for result in entry["record"]["results"]]
    seen.claim("a-test-that-cannot-run-is-not-run", "not-run" in verdicts, verdicts)
    error = told.not_run["error"] or {}
    blocked = told.not_run["result"] == "failed" and told.not_run["active_version"] is None
    seen.claim("and-blocks", blocked and error.get("code") == "self-test-not-run", error)
    return seen


def _promised(table: Json, variant_name: str) -> set[str]:
    variant = next(each for each in table["variants"] if each["name"] == variant_name)
    tests = [*table.get("self_tests", {}).get("functional", ()), *variant.get("self_tests", {}).get("functional", ())]
    return {test["id"] for test in tests}


def failure_goes_back(stage: Stage) -> Examination:
    """5.3-e: the bad release and a failure at each step: the version before serves, and the person is told."""
    seen = Examination()
    bad = stage.chapter(bad_release)
    before = stage.family.better["version"]
    error = bad.outcome["error"] or {}
    back = bad.outcome["result"] == "failed" and bad.outcome["active_version"] == before
    seen.claim("bad-release-goes-back-by-itself", back and bad.current.startswith(f"{before}+"), bad.outcome)
    seen.claim("bad-release-fails-its-self-test", error.get("code") == "self-test-failed", error)
    serves = bad.serves.status == 200 and bad.serves.body["version"] == before
    seen.claim("version-before-serves", serves, bad.serves.body)
    seen.claim("bad-release-left-nothing", not bad.leftovers, bad.leftovers)
    seen.claim("bad-release-is-not-offered-again", not bad.offered_again)
    claim_told(seen, "bad-release", error, bad.status_texts)
    for failure in stage.chapter(failures).steps:
        _claim_failure(seen, failure)
    return seen


def _claim_failure(seen: Examination, failure: Failure) -> None:
    name = f"failure-while-{failure.step}"
    status = failure.status
    if failure.outcome is None:  # it waits for a person: that is no failure yet, but it has to be told just as well
        error = status["error"] or {}
        seen.claim(f"{name}-waits", bool(status["paused"]) and bool(error), {"error": error})
    else:
        error = failure.outcome["error"] or {}
        ended = failure.outcome["result"] == "failed"
        seen.claim(f"{name}-ends", ended, {"outcome": failure.outcome["result"], "error": error})
    kept = status["active_version"] == failure.before and failure.intact and failure.serves
    facts = {"active": status["active_version"], "intact": failure.intact, "serves": failure.serves}
    seen.claim(f"{name}-version-before-serves", kept, facts)
    claim_told(seen, name, error, failure.texts)


def claim_told(seen: Examination, name: str, error: Json, texts: dict[str, str]) -> None:
    """Code, and in each language sentences around it: what happened, and what to do."""
    code = str(error.get("code"))
    told = {language: [line.strip() for line in text.splitlines()] for language, text in texts.items()}
    coded = all(any(code in line for line in lines) for lines in told.values())
    chinese = sum("\u4e00" <= char <= "\u9fff" for char in texts["zh"])
    differs = not set(_sentences(told["en"])) & set(_sentences(told["zh"]))
    holds = bool(error.get("code")) and coded and chinese > 40 and differs
    seen.claim(f"{name}-told-in-both-languages", holds, {"code": code, **{k: v[-1600:] for k, v in texts.items()}})


def _sentences(lines: list[str]) -> list[str]:
    return [line for line in lines if len(line.split()) > 6]
