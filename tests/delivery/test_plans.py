"""Plans of one mode each: the cheapest that is allowed, and what becomes of it when a base is damaged."""

from __future__ import annotations

import msgspec
import pytest

from modelota.delivery.planner import CODECS, DELTAS_WORTH_BYTES, needed_digests, plan_cheapest, without
from modelota.errors import RefuseContent
from modelota.spec.manifest import (
    Chunk,
    FileEntry,
    KeyWrap,
    Manifest,
    Pack,
    Package,
    Requires,
    Route,
    RuntimeUse,
    Variant,
)
from modelota.spec.selftest import SelfTests

DIGESTS = [f"{number:064x}" for number in range(1, 5)]
OLD = f"{99:064x}"
SIZE = 100_000
PACK_BYTES = 10 * SIZE


def manifest(
    *,
    incremental: bool = True,
    differential: bool = True,
    delta_bytes: int = 100,
    codec: str = "delta-numeric",
    sealed: tuple[int, ...] = (SIZE,) * 4,
) -> Manifest:
    """Four chunks of 100 000 bytes; the base has chunks 0, 1 and 2, and an older form of chunk 3."""
    full = tuple(Route(number, 0, number, 16 + number * SIZE, sealed[number], "raw") for number in range(4))
    packages = [Package(mode="full", size_bytes=sum(sealed), routes=full)]
    base = {"base_version": "1.1.1", "base_variant": "q8"}
    if incremental:
        packages.append(Package(mode="incremental", size_bytes=sealed[3], routes=(full[3],), **base))
    if differential:
        delta = Route(3, 1, 0, 16, delta_bytes, codec, 0)
        packages.append(
            Package(mode="differential", size_bytes=delta_bytes, routes=(delta,), bases=(Chunk(OLD, SIZE),), **base)
        )
    wrap = KeyWrap(recipient="dev", epoch=1, kem="x25519", sealed=b"")
    packs = tuple(
        Pack(digest=f"{number:064x}", size_bytes=PACK_BYTES, frames=4, suite="aes-256-gcm", wraps=(wrap,))
        for number in (1000, 1001)
    )
    made = Manifest(
        model="acme/assistant",
        version="1.1.2",
        released_at="2026-01-01T00:00:00Z",
        kind="fix",
        notes={"en": ""},
        chunks=tuple(Chunk(digest, SIZE) for digest in DIGESTS),
        packs=packs,
        variants=(
            Variant(
                name="q8",
                files=(FileEntry(path="m", size_bytes=4 * SIZE, digest="a" * 64, chunks=(0, 1, 2, 3)),),
                runtime=RuntimeUse(name="command", entry="m"),
                requires=Requires(),
                self_tests=SelfTests(),
                packages=tuple(packages),
            ),
        ),
    )
    made.check()
    return made


HELD = frozenset({*DIGESTS[:3], OLD})
BASES = {("1.1.1", "q8")}


def plan(made: Manifest, held: frozenset[str] = HELD, bases: set[tuple[str, str]] = BASES, **options: object):  # noqa: ANN201
    return plan_cheapest(made, "b" * 64, "q8", held=held, bases=bases, **options)


def test_the_smallest_mode_wins() -> None:
    """A delta of 100 bytes beats one chunk of 100 000, which beats four."""
    assert (plan(manifest()).mode, plan(manifest()).fetch_bytes) == ("differential", 100)
    made = plan(manifest(differential=False))
    assert (made.mode, made.fetch_bytes, made.local_chunks) == ("incremental", SIZE, (0, 1, 2))
    made = plan(manifest(differential=False), held=frozenset())
    assert (made.mode, made.fetch_bytes, made.local_chunks) == ("full", 4 * SIZE, ())


def test_a_plan_has_one_mode_and_only_what_it_may() -> None:
    """Full takes nothing from the device, incremental no delta, and each chunk comes from exactly one place."""
    plain = manifest(differential=False)
    plans = [plan(manifest()), plan(plain), plan(plain, held=frozenset())]
    assert [made.mode for made in plans] == ["differential", "incremental", "full"]
    for made in plans:
        reached = [frame.chunk for frame in made.frames] + list(made.local_chunks)
        assert sorted(reached) == [0, 1, 2, 3]
        if made.mode != "differential":
            assert all(frame.base is None for frame in made.frames)
        assert made.mode != "full" or not made.local_chunks


def test_an_incremental_plan_needs_no_incremental_package() -> None:
    """The share of the full package decides, not what the publisher made."""
    made = plan(manifest(incremental=False, differential=False), bases=set())
    assert (made.mode, made.fetch_bytes, made.local_chunks) == ("incremental", SIZE, (0, 1, 2))


def test_what_is_held_as_a_whole_is_not_fetched() -> None:
    """A release whose chunks are all on the device is an incremental plan without a frame, whatever is published."""
    for made in (manifest(), manifest(incremental=False, differential=False)):
        found = plan(made, held=frozenset(DIGESTS), bases=set())
        assert (found.mode, found.fetch_bytes, found.frames) == ("incremental", 0, ())
        assert found.local_chunks == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("whole_bytes", "saved_bytes", "mode"),
    [
        (1000, DELTAS_WORTH_BYTES, "incremental"),
        (1000, DELTAS_WORTH_BYTES + 1, "differential"),
        (20_000, 200, "incremental"),
        (20_000, 201, "differential"),
    ],
)
def test_deltas_have_to_be_worth_their_name(whole_bytes: int, saved_bytes: int, mode: str) -> None:
    """A differential plan that saves less than a request costs, or than a hundredth, gives way to the incremental."""
    sealed = (2 * whole_bytes, 2 * whole_bytes, 2 * whole_bytes, whole_bytes)
    made = plan(manifest(delta_bytes=whole_bytes - saved_bytes, sealed=sealed))
    assert made.mode == mode
    assert made.fetch_bytes == (whole_bytes if mode == "incremental" else whole_bytes - saved_bytes)


def test_the_full_package_is_never_taken_to_save_little() -> None:
    """What the device holds is used however small the release is: going back must work without a network."""
    small = manifest(differential=False, sealed=(20,) * 4)
    assert plan(small, held=frozenset(DIGESTS)).fetch_bytes == 0


@pytest.mark.parametrize(("missing_bytes", "mode"), [(300, "incremental"), (301, "full")])
@pytest.mark.parametrize("incremental", [True, False])
def test_thirty_percent_of_the_full_package(missing_bytes: int, mode: str, *, incremental: bool) -> None:
    """Exactly thirty percent is allowed; more is not, and the device takes the full package, whatever is published."""
    made = manifest(incremental=incremental, differential=False, sealed=(300, 300, 400 - missing_bytes, missing_bytes))
    assert plan(made, held=frozenset(DIGESTS[:3])).mode == mode


def test_differential_needs_its_base_version() -> None:
    """A package from a version that the device does not have is not used, whatever chunks happen to be there."""
    held = HELD - {DIGESTS[2]}  # too little for an incremental plan
    assert plan(manifest(), held=held).mode == "differential"
    assert plan(manifest(), held=held, bases={("1.1.0", "q8")}).mode == "full"


def test_a_delta_without_its_base_chunk_is_fetched_whole() -> None:
    """Where the base chunk of a delta is gone, that chunk is fetched whole and the rest of the plan stays."""
    made = plan(manifest(), held=frozenset(DIGESTS[:2]))
    assert (made.mode, made.fetch_bytes) == ("differential", 2 * SIZE)
    assert all(frame.base is None for frame in made.frames)


def test_codecs_of_a_newer_publisher_are_passed_over() -> None:
    """A delta operation that this decoder does not know is no way to the chunk; the full package is."""
    made = plan(manifest(codec="delta-telepathy"))
    assert made.mode == "incremental"
    with pytest.raises(RefuseContent) as caught:
        plan(manifest(), codecs=CODECS - {"raw"})
    assert caught.value.code == "document-needs-newer"


def test_without_damaged_chunks() -> None:
    """A damaged local chunk, or a damaged base, turns into a whole frame; the mode stays; nothing else changes."""
    made = manifest()
    whole = plan(made)
    assert needed_digests(whole, made) == HELD
    assert without(whole, made, frozenset()) is whole
    assert without(whole, made, {"f" * 64}) is whole
    mended = without(whole, made, {DIGESTS[1]})
    assert (mended.mode, mended.local_chunks, mended.fetch_bytes) == ("differential", (0, 2), 100 + SIZE)
    mended = without(whole, made, {OLD})
    assert mended.fetch_bytes == SIZE
    assert needed_digests(mended, made) == frozenset(DIGESTS[:3])


def test_hostile_packages_are_refused() -> None:
    """A delta without a base, a base out of range, a delta in an incremental package, a lost base: refused."""
    good = manifest()
    variant = good.variants[0]
    full, incremental, differential = variant.packages
    delta = differential.routes[0]
    base = {"base_version": "1.1.1", "base_variant": "q8"}
    hostile = [
        Package(mode="differential", size_bytes=100, routes=(Route(*_fields(delta)[:6]),), **base),
        Package(mode="incremental", size_bytes=100, routes=(delta,), bases=differential.bases, **base),
        Package(mode="differential", size_bytes=100, routes=(delta,), bases=(), **base),
        Package(mode="differential", size_bytes=100, routes=(delta,), bases=differential.bases),
        Package(mode="incremental", size_bytes=SIZE, routes=incremental.routes),
        Package(mode="full", size_bytes=4 * SIZE, routes=full.routes, **base),
    ]
    for package in hostile:
        packages = (package,) if package.mode == "full" else (full, package)
        broken = msgspec.structs.replace(good, variants=(msgspec.structs.replace(variant, packages=packages),))
        with pytest.raises(RefuseContent) as caught:
            broken.check()
        assert caught.value.code == "manifest-mismatch"


def _fields(route: Route) -> tuple[object, ...]:
    return (route.chunk, route.pack, route.frame, route.offset, route.length_bytes, route.codec, route.base)
