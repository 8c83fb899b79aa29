"""Clauses 5.2.1 and 5.2.3: what packages cost, which there are, and the way back to any baseline."""

from __future__ import annotations

from typing import Any, Final

from modelota.conformance.chapters.packages import Arrival, Line, Release, Return, published_line, travels
from modelota.conformance.checks.of_repository import INCREMENTAL_LIMIT_PERCENT, share_percent
from modelota.conformance.published import (
    chunk_digests,
    lacking_bytes,
    outside_packs,
    package_of,
    sealed_bytes,
    variant_of,
)
from modelota.conformance.readings import patch_from_bytes
from modelota.conformance.row import Examination
from modelota.conformance.stage import Stage

Json = dict[str, Any]

ROLLBACK_LIMIT_S: Final = 300
COMPARED_MAX_BYTES: Final = 64 << 20  # old and new together; zstd at level 19 takes minutes beyond that
WORTHLESS_PERCENT: Final = 99  # a difference that saves less than 1 % need not be published
_MODES: Final = {"full", "incremental", "differential"}


def incremental(stage: Stage) -> Examination:
    """5.2.1-a: every incremental package is at most 30 % of the full one; above that there is none, and it goes on."""
    seen = Examination()
    line = stage.chapter(published_line)
    shares: dict[str, float] = {}
    above: list[str] = []
    for release in _all(line):
        _claim_sums(seen, release)
        if release.demanded is not None:
            shares |= _claim_incremental(seen, line, release, above)
    seen.claim("some-were-small-enough", bool(shares), sorted(shares))
    seen.claim("some-were-too-large", bool(above), above)
    seen.at_most("largest-share", max(shares.values(), default=0.0), INCREMENTAL_LIMIT_PERCENT, "%")
    seen.claim("packs-are-what-manifests-say", not line.broken_packs, line.broken_packs)
    arrivals = [arrival for told in stage.chapter(travels).arrivals.values() for arrival in told]
    for arrival in arrivals:
        _claim_plan(seen, arrival)
    modes = {arrival.offer["mode"] for arrival in arrivals}
    seen.claim("an-incremental-plan-was-carried-out", "incremental" in modes, sorted(modes))
    return seen


def _all(line: Line) -> list[Release]:
    return [release for releases in line.releases.values() for release in releases]


def _claim_sums(seen: Examination, release: Release) -> None:
    """The sizes that a manifest states are the sums of its frames, and these lie within its packs."""
    wrong = [
        f"{variant['name']} {package['mode']} {package.get('base_version')}"
        for variant in release.manifest["variants"]
        for package in variant["packages"]
        if package["size_bytes"] != sealed_bytes(package) or outside_packs(release.manifest, package)
    ]
    seen.claim(f"{release.name}-sizes-add-up", not wrong, wrong)


def _claim_incremental(seen: Examination, line: Line, release: Release, above: list[str]) -> dict[str, float]:
    """Per variant: published when it is small enough by our own sum, not published when it is not."""
    assert release.demanded is not None
    base = line.release(release.table["model"], release.baselines[-1])
    shares: dict[str, float] = {}
    too_large = False
    for variant in release.manifest["variants"]:
        old = variant_of(base.manifest, variant["name"])
        if old is None:
            continue
        name = f"{release.name} {variant['name']}"
        full = package_of(variant, "full")
        whole = sealed_bytes(full) if full else 0
        size_bytes = lacking_bytes(release.manifest, variant, chunk_digests(base.manifest, old))
        package = package_of(variant, "incremental", base.table["version"])
        facts = {"own_sum_bytes": size_bytes, "full_bytes": whole, "published": package is not None}
        if size_bytes * 100 > whole * INCREMENTAL_LIMIT_PERCENT:
            too_large = True
            above.append(name)
            seen.claim(f"{name}-too-large-and-not-published", package is None, facts)
        else:
            same = package is not None and sealed_bytes(package) == size_bytes
            seen.claim(f"{name}-small-and-published", same, facts)
            shares |= {name: share_percent(package, full)} if package is not None else {}
        went_on = full is not None and release.report["already_published"] is False
        seen.claim(f"{name}-went-on-with-a-full-package", went_on, [each["mode"] for each in variant["packages"]])
    told = release.demanded.told
    if too_large:
        refused = release.demanded.refused and release.demanded.code == "incremental-too-large"
        seen.claim(f"{release.name}-refused-when-demanded", refused, told)
    else:
        seen.claim(f"{release.name}-granted-when-demanded", not release.demanded.refused, told)
    return shares


def _claim_plan(seen: Examination, arrival: Arrival) -> None:
    """A plan has one mode, fetches what the package of that mode holds, and no published package is cheaper."""
    offer, release = arrival.offer, arrival.release
    variant = variant_of(release.manifest, offer["to_variant"]) or {"packages": []}
    usable: dict[str, int] = {}
    for package in variant["packages"]:
        based_here = (
            package.get("base_version") in arrival.held and package.get("base_variant") == offer["from_variant"]
        )
        if package["mode"] == "full" or based_here:
            size_bytes = sealed_bytes(package)
            usable[package["mode"]] = min(size_bytes, usable.get(package["mode"], size_bytes))
    facts = {"mode": offer["mode"], "planned_bytes": offer["planned_bytes"], "served_bytes": arrival.served_bytes}
    facts |= {"packages": usable}
    own = usable.get(offer["mode"])
    one = offer["mode"] in _MODES and own is not None and offer["planned_bytes"] <= own
    seen.claim(f"{release.name}-plan-is-one-of-its-packages", one, facts)
    seen.claim(f"{release.name}-plan-is-the-cheapest", offer["planned_bytes"] <= min(usable.values(), default=0))
    seen.claim(f"{release.name}-served-as-planned", arrival.served_bytes == offer["planned_bytes"])
    if offer["mode"] == "incremental":
        limit = offer["full_bytes"] * INCREMENTAL_LIMIT_PERCENT / 100
        seen.claim(f"{release.name}-incremental-plan-within-the-limit", offer["planned_bytes"] <= limit)


def differential(stage: Stage) -> Examination:
    """5.2.3-a: a differential package for each named pair, against zstd's patch-from and the full package."""
    seen = Examination()
    line = stage.chapter(published_line)
    ratios: dict[str, float] = {}
    for release in _all(line):
        for version in release.baselines:
            base = line.release(release.table["model"], version)
            for variant in release.manifest["variants"]:
                ratios |= _claim_pair(seen, release, base, variant)
    seen.at_most("largest-against-patch-from", max(ratios.values(), default=0.0), 100, "%")
    seen.claim("pairs-with-a-package", bool(ratios), ratios)
    arrivals = [arrival for told in stage.chapter(travels).arrivals.values() for arrival in told]
    taken = [arrival for arrival in arrivals if arrival.offer["mode"] == "differential"]
    seen.claim("installed-by-difference", bool(taken), [arrival.release.name for arrival in taken])
    for arrival in arrivals:
        facts = {"mode": arrival.offer["mode"], "served_bytes": arrival.served_bytes}
        seen.claim(f"{arrival.release.name}-installed-bit-identically", arrival.identical, facts)
    return seen


def _claim_pair(seen: Examination, release: Release, base: Release, variant: Json) -> dict[str, float]:
    """One pair and variant; the ratio to patch-from in percent, where there is a package and it was compared."""
    if variant_of(base.manifest, variant["name"]) is None:
        return {}
    name = f"{release.table['model']} {base.table['version']} to {release.table['version']} {variant['name']}"
    full = package_of(variant, "full")
    whole = sealed_bytes(full) if full else 0
    rival = package_of(variant, "incremental", base.table["version"])
    cheapest = min(whole, sealed_bytes(rival)) if rival else whole
    old, new = base.plain(variant["name"]), release.plain(variant["name"])
    patch = patch_from_bytes(old, new) if len(old) + len(new) <= COMPARED_MAX_BYTES else None
    package = package_of(variant, "differential", base.table["version"])
    facts: Json = {"full_bytes": whole, "cheapest_other_bytes": cheapest, "patch_from_bytes": patch}
    if package is None:
        # the publisher may leave out a difference that saves nothing; that it would not, zstd has to confirm
        nothing_to_save = patch is not None and patch * 100 >= cheapest * WORTHLESS_PERCENT
        seen.claim(f"{name}-left-out-because-it-saves-nothing", nothing_to_save, facts)
        return {}
    size_bytes = sealed_bytes(package)
    facts |= {"size_bytes": size_bytes, "percent_of_full": round(100 * size_bytes / whole, 2) if whole else None}
    seen.claim(f"{name}-smaller-than-any-other", size_bytes < cheapest, facts)
    if patch is None:
        return {}
    ratio = round(100 * size_bytes / patch, 2)
    seen.claim(f"{name}-not-above-patch-from", size_bytes <= patch, {"percent": ratio})
    return {name: ratio}


def way_back(stage: Stage) -> Examination:
    """5.2.3-b: lineage from the first version on, and the way back to every baseline the device ever had, timed."""
    seen = Examination()
    line = stage.chapter(published_line)
    claim_lineage(seen, line)
    told = stage.chapter(travels)
    returns = [each for model in told.returns.values() for each in model]
    seen.at_most("slowest-seconds", round(max(each.seconds for each in returns), 2), ROLLBACK_LIMIT_S, "s")
    for model, arrivals in told.arrivals.items():
        had = {arrival.release.table["version"] for arrival in arrivals[:-1]}
        reached = {each.release.table["version"] for each in told.returns[model]}
        seen.claim(f"{model}-every-baseline-was-tried", had == reached, sorted(reached))
    for each in returns:
        _claim_return(seen, each)
    both = {each.kept for each in returns}
    seen.claim("from-kept-slots-and-from-the-repository", both == {True, False}, [each.kept for each in returns])
    return seen


def claim_lineage(seen: Examination, line: Line) -> None:
    """Each release names the one it is made from, back to the first, as signed and as the history tells it."""
    for model, releases in line.releases.items():
        versions = [release.table["version"] for release in releases]
        before = {release.manifest["version"]: release.manifest.get("predecessor") for release in releases}
        chain: list[str] = []
        step: str | None = versions[-1]
        while step is not None and step not in chain:
            chain.append(step)
            step = before.get(step)
        seen.claim(f"{model}-signed-lineage", chain[::-1] == versions, chain)
        told = [(each.get("version"), each.get("predecessor")) for each in line.history[model]]
        seen.claim(f"{model}-history-tells-the-same", told == [(v, before[v]) for v in versions], told)
        digests = [each.get("manifest_digest") for each in line.history[model]]
        seen.claim(f"{model}-history-names-what-was-signed", digests == [each.sha256 for each in releases])


def _claim_return(seen: Examination, back: Return) -> None:
    name = back.release.name
    version = back.release.table["version"]
    facts = {
        "kept": back.kept,
        "seconds": round(back.seconds, 2),
        "served_bytes": back.served_bytes,
        "mode": back.offer and back.offer["mode"],
        "active": back.active,
    }
    seen.claim(f"{name}-back-in-use", back.status == 0 and back.active == version and back.serves == version, facts)
    seen.claim(f"{name}-back-bit-identically", back.identical)
    if back.kept:
        seen.claim(f"{name}-at-once", back.offer is None and back.served_bytes == 0)
        return
    offered = back.offer is not None and back.offer["direction"] == "rollback" and back.offer["to_version"] == version
    seen.claim(f"{name}-by-an-offer", offered and back.bytes_before_decision == 0, back.bytes_before_decision)
