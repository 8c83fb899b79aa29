"""Clause 5.2: packages: resumable, verified, sealed, proven before use."""

from __future__ import annotations

from typing import Any

from modelota.conformance.chapters.attempts import claim_refused
from modelota.conformance.chapters.failures import failures
from modelota.conformance.chapters.interruptions import CONNECTIONS, allowance_bytes, interruptions
from modelota.conformance.chapters.main_story import Installation, first_install, second_update
from modelota.conformance.chapters.refusals import transport
from modelota.conformance.chapters.staging import staged
from modelota.conformance.readings import files_below, low_entropy_blocks, windows_found, windows_of, written_pages
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

_ORDER = ("decided", "fetched", "verified", "deployed", "tests-passed", "activated")


def resumable(stage: Stage) -> Examination:
    """5.2.1-b: bytes served over kills of agent and worker, minus the package."""
    lost = stage.chapter(interruptions)
    package_bytes = lost.offer["planned_bytes"]
    seen = Examination({"interrupted": lost.interrupted, "package_bytes": package_bytes, "connections": CONNECTIONS})
    repeated = lost.served_bytes - package_bytes
    seen.at_most("bytes-served-twice", repeated, allowance_bytes(lost.interrupted), "B")
    seen.claim("all-of-it-was-served", lost.served_bytes >= package_bytes, lost.served_bytes)
    seen.claim("installed-in-the-end", lost.completed)
    return seen


def verified(stage: Stage) -> Examination:
    """5.2.1-c: a byte of a difference package changed on arrival, after it was staged, and in a finished file."""
    seen = Examination()
    told = stage.chapter(failures)
    for damage in told.damage:
        outcome = {"result": damage.outcome["result"], "error": damage.outcome["error"], "active": damage.active}
        seen.claim(f"damaged-when-{damage.place}-never-used", damage.identical, outcome)
        difference = damage.mode in {"incremental", "differential"}
        seen.claim(f"damaged-when-{damage.place}-was-a-difference-package", difference, damage.mode)
    refused = next(damage for damage in told.damage if damage.place == "fetched")
    seen.claim("damaged-source-refused", refused.outcome["result"] == "failed", refused.outcome["error"])
    back = refused.active == refused.outcome["from_version"]
    seen.claim("version-before-stays", back, refused.active)
    seen.claim("all-three-places", {damage.place for damage in told.damage} == {"fetched", "written", "finished"})
    return seen


def sealed(stage: Stage) -> Examination:
    """5.2.2-a: what is published and staged holds no model bytes; transport is refused where it is not secure."""
    seen = Examination()
    first = stage.chapter(first_install)
    plain = b"".join(path.read_bytes() for path in stage.family.plain(first.table))
    windows = windows_of(plain)
    published = b"".join(path.read_bytes() for path in files_below(stage.publisher.public / "packs"))
    lying = b"".join(written_pages(path.read_bytes()) for path in files_below(stage.chapter(staged)))
    control = windows_found(plain, windows)
    seen.claim("the-search-finds-them-in-the-model", control == len(windows) > 50, {"windows": len(windows)})
    for name, data in (("packs", published), ("staging", lying)):
        blocks, low, lowest = low_entropy_blocks(data)
        seen.at_most(f"known-plaintext-in-{name}", windows_found(data, windows), 0, "1")
        facts = {"blocks": blocks, "low": low, "lowest_bits_per_byte": round(lowest, 4), "bytes": len(data)}
        seen.claim(f"{name}-look-random", blocks > 0 and low == 0, facts)
    addresses = stage.chapter(transport)
    claim_refused(seen, addresses.insecure.values())
    said = {attempt.code for attempt in addresses.insecure.values()}
    seen.claim("plain-http-to-another-machine-named", "insecure-url" in said, sorted(str(code) for code in said))
    claim_refused(seen, [addresses.untrusted_tls._replace(name="https-with-an-unknown-authority")])
    seen.claim("nothing-asked-over-it", addresses.untrusted_requests == 0, addresses.untrusted_requests)
    return seen


def proven_before_use(stage: Stage) -> Examination:
    """5.2.2-b: the journal's order for every version that came into use."""
    seen = Examination()
    for installation in (stage.chapter(first_install), stage.chapter(second_update)):
        version = installation.table["version"]
        order = _order(installation)
        seen.claim(f"{version}-order", order == list(_ORDER), order)
    return seen


def _order(installation: Installation) -> list[str]:
    """The named events of this release, in the journal's order, repetitions after a pause folded into the last."""
    version = installation.table["version"]
    names: list[str] = []
    accepted = False
    for entry in installation.log:
        facts: dict[str, Any] = entry["facts"]
        if facts.get("to_version") != version or entry["event"] not in _ORDER:
            continue
        accepted = accepted or facts.get("answer") == "accept"
        if accepted and entry["event"] not in names:
            names.append(entry["event"])
    return names
