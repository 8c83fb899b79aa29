"""Tests of modelota.delivery.planner."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery import samples

from modelota.delivery.planner import coalesce, plan_full
from modelota.errors import RefuseContent
from modelota.spec.manifest import Package, Route
from modelota.spec.offer import PlannedFrame


def frame(offset: int, length_bytes: int, pack: str = "one", chunk: int = 0) -> PlannedFrame:
    return PlannedFrame(
        pack=samples.digest(pack), frame=0, offset=offset, length_bytes=length_bytes, codec="raw", chunk=chunk
    )


def test_full_plan_is_in_reading_order() -> None:
    """A full plan has every chunk once, ordered by pack and offset, and knows its bytes."""
    manifest = samples.manifest()
    manifest.check()
    plan = plan_full(manifest, samples.digest("manifest"), "q8")
    assert [(entry.chunk, entry.offset) for entry in plan.frames] == [(0, 16), (1, 76), (2, 16)]
    assert [entry.pack for entry in plan.frames] == [samples.digest("one")] * 2 + [samples.digest("two")]
    assert (plan.mode, plan.variant, plan.fetch_bytes) == ("full", "q8", 150)
    assert plan.manifest_digest == samples.digest("manifest")
    assert plan == plan_full(manifest, samples.digest("manifest"), "q8")


def with_routes(*routes: Route) -> object:
    return samples.manifest(routes=routes)


def test_first_route_that_can_be_decoded() -> None:
    """Of several routes to a chunk the first known one is taken; a chunk without one needs a newer agent."""
    new = Route(chunk=0, pack=0, frame=0, offset=16, length_bytes=20, codec="delta9")
    old = [Route(chunk=n, pack=0, frame=1, offset=30 + 20 * n, length_bytes=20, codec="zstd") for n in range(3)]
    plan = plan_full(samples.manifest(routes=(new, *old)), samples.digest("m"), "q8")
    assert [entry.codec for entry in plan.frames] == ["zstd"] * 3
    with pytest.raises(RefuseContent) as caught:
        plan_full(samples.manifest(routes=(new, *old[1:])), samples.digest("m"), "q8")
    assert caught.value.code == "document-needs-newer"
    newer = plan_full(samples.manifest(routes=(new, *old)), samples.digest("m"), "q8", codecs={"delta9", "zstd"})
    assert newer.frames[0].codec == "delta9"


def test_what_cannot_be_planned() -> None:
    """A variant that is not there, and one without a full package, are manifest-mismatch."""
    manifest = samples.manifest()
    with pytest.raises(RefuseContent) as caught:
        plan_full(manifest, samples.digest("m"), "q4")
    assert caught.value.code == "manifest-mismatch"
    variant = msgspec.structs.replace(
        manifest.variants[0], packages=(Package(mode="incremental", size_bytes=0, routes=()),)
    )
    with pytest.raises(RefuseContent) as caught:
        plan_full(samples.manifest(variants=(variant,)), samples.digest("m"), "q8")
    assert caught.value.code == "manifest-mismatch"


def test_coalesce_examples() -> None:
    """Neighbours join up to the limits; a gap, another pack or a full request starts a new range."""
    frames = [frame(0, 10), frame(10, 10), frame(25, 5), frame(30, 100), frame(0, 10, "two")]
    joined = coalesce(frames, max_bytes=40, max_gap_bytes=0)
    assert [(one.offset, one.length_bytes, len(one.frames)) for one in joined] == [
        (0, 20, 2),
        (25, 5, 1),
        (30, 100, 1),
        (0, 10, 1),
    ]
    with_gaps = coalesce(frames, max_bytes=1000, max_gap_bytes=5)
    assert [(one.offset, one.length_bytes, len(one.frames)) for one in with_gaps] == [(0, 130, 4), (0, 10, 1)]
    assert coalesce([], 10, 10) == []


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60), st.sampled_from(["one", "two"])), max_size=40),
    st.integers(1, 200),
    st.integers(0, 50),
)
def test_coalesce_keeps_every_frame(entries: list[tuple[int, int, str]], max_bytes: int, max_gap_bytes: int) -> None:
    """For any frames, overlapping and unordered ones too: each lies in exactly one range of its pack, within bounds."""
    frames = [frame(offset, length, pack, chunk) for chunk, (offset, length, pack) in enumerate(entries)]
    ranges = coalesce(frames, max_bytes, max_gap_bytes)
    assert [entry for one in ranges for entry in one.frames] == frames
    for one in ranges:
        assert one.length_bytes <= max_bytes or len(one.frames) == 1
        covered = set[int]()
        for entry in one.frames:
            assert entry.pack == one.pack
            assert one.offset <= entry.offset
            assert entry.offset + entry.length_bytes <= one.offset + one.length_bytes
            covered |= set(range(entry.offset, entry.offset + entry.length_bytes))
        assert one.length_bytes - len(covered) <= max_gap_bytes * (len(one.frames) - 1)
