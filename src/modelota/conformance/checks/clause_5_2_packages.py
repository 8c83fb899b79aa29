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
WORTHLESS_PERCENT: Final = 99  # of the full package: a difference that zstd too would not make smaller
NEGLIGIBLE_BYTES: Final = 1024  # of two plans that differ by no more, the one of the simpler mode may be offered


def incremental(stage: Stage) -> Examination:
    """5.2.1-a: no incremental package and no incremental plan above 30 % of the full one; without, a release goes on.

    Packages are measured from the manifests, plans by what the manifests say that the device lacked.
    """
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
    told = stage.chapter(travels)
    arrivals = [arrival for each in told.arrivals.values() for arrival in each]
    for arrival in arrivals:
        _claim_plan(seen, line, arrival.release.name, arrival)
    for back in (each for model in told.returns.values() for each in model if each.offer is not None):
        _claim_plan(seen, line, f"{back.release.name}-back", back)
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


def _claim_plan(seen: Examination, line: Line, name: str, journey: Arrival | Return) -> None:
    """A plan has one mode, keeps to what that mode allows, and no other allowed plan is cheaper by more than little."""
    offer = journey.offer
    assert offer is not None
    most = _most_bytes(line, journey.release, journey.held, offer)
    planned = offer["planned_bytes"]
    facts = {"mode": offer["mode"], "planned_bytes": planned, "served_bytes": journey.served_bytes, "at_most": most}
    own = most.get(offer["mode"])
    seen.claim(f"{name}-plan-is-an-allowed-one", own is not None and planned <= own, facts)
    seen.claim(f"{name}-plan-is-the-cheapest", planned <= min(most.values(), default=0) + NEGLIGIBLE_BYTES, facts)
    seen.claim(f"{name}-served-as-planned", journey.served_bytes == planned)


def _most_bytes(line: Line, release: Release, held: tuple[str, ...], offer: Json) -> dict[str, int]:
    """What a plan of each mode may fetch at most, from the manifests alone, for each mode that comes into question.

    Full: its package. Incremental: what the versions in slots lack, and no more than 30 % of the full package, whether
    or not there is a package of this mode; a device that keeps more than its slots may need less. Differential: the
    package from a version in a slot.
    """
    variant = variant_of(release.manifest, offer["to_variant"])
    full = variant and package_of(variant, "full")
    if variant is None or full is None:
        return {}
    most = {"full": sealed_bytes(full)}
    known: set[str] = set()
    for version in held:
        manifest = line.release(release.table["model"], version).manifest
        old = variant_of(manifest, offer["from_variant"])
        known |= chunk_digests(manifest, old) if old is not None else set()
        based = package_of(variant, "differential", version)
        if based is not None and based["base_variant"] == offer["from_variant"]:
            most["differential"] = min(sealed_bytes(based), most.get("differential", sealed_bytes(based)))
    rest, limit = lacking_bytes(release.manifest, variant, known), most["full"] * INCREMENTAL_LIMIT_PERCENT // 100
    if rest <= limit or offer["mode"] == "incremental":
        most["incremental"] = min(rest, limit)
    return most


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
        # a named pair goes without only where the difference would be no smaller than all, which the publisher has to
        # say with the figure, and zstd to confirm
        told = _told_of(release, variant["name"], base.table["version"])
        facts["told"] = told
        said = told.get("skipped") == "not-below-full" and (told.get("size_bytes") or 0) >= whole
        seen.claim(f"{name}-left-out-and-told-why", said, facts)
        nothing_to_save = patch is not None and patch * 100 >= whole * WORTHLESS_PERCENT
        seen.claim(f"{name}-left-out-because-it-saves-nothing", nothing_to_save, facts)
        return {}
    size_bytes = sealed_bytes(package)
    facts |= {"size_bytes": size_bytes, "percent_of_full": round(100 * size_bytes / whole, 2) if whole else None}
    seen.claim(f"{name}-smaller-than-the-full-one", size_bytes < whole, facts)
    seen.claim(f"{name}-not-above-any-other", size_bytes <= cheapest, facts)
    if patch is None:
        return {}
    ratio = round(100 * size_bytes / patch, 2)
    seen.claim(f"{name}-not-above-patch-from", size_bytes <= patch, {"percent": ratio})
    return {name: ratio}


def _told_of(release: Release, variant_name: str, base_version: str) -> Json:
    """What the publisher's report says of one differential package."""
    packages = (
        package
        for each in release.report.get("variants", [])
        if each["name"] == variant_name
        for package in each["packages"]
        if package["mode"] == "differential" and package["base_version"] == base_version
    )
    return next(packages, {})


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
