"""What a published repository shows by itself: signatures, versions, contents, sizes, and packs that look random."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from modelota.conformance.published import PublishedRepository, package_of, sealed_bytes
from modelota.conformance.readings import low_entropy_blocks
from modelota.conformance.row import Examination, Text, Unmeasurable

_PACK_SAMPLE_BYTES: Final = 4 << 20
_PACKS_MAX: Final = 32
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
INCREMENTAL_LIMIT_PERCENT: Final = 30
_NO_INCREMENTAL: Final = Text("该仓库没有增量包", "this repository holds no incremental package")


def sealed(repository: PublishedRepository) -> Examination:
    """5.2.2-a: packs look random all over, every pack names an authenticated cipher, and the address is a safe one."""
    seen = Examination()
    packs = {pack["digest"]: pack for manifest in repository.manifests for pack in manifest["packs"]}
    low_blocks, lowest_bits = 0, 8.0
    for digest in sorted(packs)[:_PACKS_MAX]:
        _, low, lowest = low_entropy_blocks(repository.get(f"packs/{digest[:2]}/{digest}", _PACK_SAMPLE_BYTES))
        low_blocks, lowest_bits = low_blocks + low, min(lowest_bits, lowest)
    seen.at_most("blocks-that-do-not-look-random", low_blocks, 0, "1")
    seen.evidence["looked_at"] = {"packs": min(len(packs), _PACKS_MAX), "lowest_bits_per_byte": round(lowest_bits, 4)}
    suites = sorted({pack["suite"] for pack in packs.values()})
    seen.claim("authenticated-encryption", set(suites) <= {"aes-256-gcm", "chacha20-poly1305", "sm4-gcm"}, suites)
    address = urlsplit(repository.url)
    safe = address.scheme in {"https", "file"} or address.hostname in _LOOPBACK
    seen.claim("safe-address", safe, address.scheme)
    return seen


def numbered(repository: PublishedRepository) -> Examination:
    """6.1-a: every published version is three positive numbers."""
    seen = Examination()
    versions = [manifest["version"] for manifest in repository.manifests]
    wrong = [text for text in versions if not re.fullmatch(r"[1-9][0-9]*\.[1-9][0-9]*\.[1-9][0-9]*", text)]
    seen.at_most("malformed-versions", len(wrong), 0, "1")
    seen.evidence["versions"] = versions
    return seen


def unique(repository: PublishedRepository) -> Examination:
    """6.1-c: no version is there twice, and no content under two versions of a model."""
    seen = Examination()
    names = [(manifest["model"], manifest["version"]) for manifest in repository.manifests]
    seen.claim("each-version-once", len(names) == len(set(names)), [f"{model} {version}" for model, version in names])
    contents: dict[str, list[str]] = {}
    for manifest in repository.manifests:
        files = [sorted((f["path"], f["digest"]) for f in variant["files"]) for variant in manifest["variants"]]
        identity = hashlib.sha256(json.dumps([manifest["model"], sorted(files)]).encode()).hexdigest()
        contents.setdefault(identity, []).append(manifest["version"])
    twice = [versions for versions in contents.values() if len(versions) > 1]
    seen.at_most("contents-under-two-versions", len(twice), 0, "1")
    return seen


def small(repository: PublishedRepository) -> Examination:
    """5.2.1-a: every published incremental package, against the full package of its variant."""
    seen = Examination()
    worst = 0.0
    for manifest in repository.manifests:
        for variant in manifest["variants"]:
            for package in (each for each in variant["packages"] if each["mode"] == "incremental"):
                name = f"{manifest['model']} {manifest['version']} {variant['name']} from {package['base_version']}"
                percent = share_percent(package, package_of(variant, "full"))
                seen.claim(name, percent <= INCREMENTAL_LIMIT_PERCENT, percent)
                worst = max(worst, percent)
    if not seen.evidence:
        raise Unmeasurable(_NO_INCREMENTAL)
    seen.at_most("largest-share", worst, INCREMENTAL_LIMIT_PERCENT, "%")
    return seen


def share_percent(package: dict[str, Any], full: dict[str, Any] | None) -> float:
    """A package's sealed size in percent of the full one's; without a full one it is beyond any limit."""
    whole = sealed_bytes(full) if full is not None else 0
    return round(100 * sealed_bytes(package) / whole, 2) if whole else math.inf


REPOSITORY_CHECKS: Final[Mapping[str, Callable[[PublishedRepository], Examination]]] = {
    "5.2.1-a": small,
    "5.2.2-a": sealed,
    "6.1-a": numbered,
    "6.1-c": unique,
}
