"""Tests of modelota.repository.encoding."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from modelota.content.delta import decode_delta
from modelota.errors import TryLater
from modelota.repository import encoding
from modelota.repository.encoding import ChunkJob, DeltaJob, Encoders, code_chunk, code_delta


def _jobs(count: int, taken: list[int] | None = None) -> Iterator[ChunkJob]:
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield ChunkJob(bytes([number]) * 5000, "opaque")


def _die(job: ChunkJob) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_give_the_same_as_this_process() -> None:
    """In the same order, with deltas and without; a worker that is killed is told as such."""
    with Encoders(2, processes=True) as encoders, Encoders(0) as alone:
        found = list(encoders.run(code_chunk, _jobs(20), encoding.POOL_FROM_BYTES))
        assert found == list(alone.run(code_chunk, _jobs(20), encoding.POOL_FROM_BYTES))
        deltas = [DeltaJob(job.target + b"x", job.target, job.kind) for job in _jobs(3)]
        assert list(encoders.run(code_delta, deltas, 0)) == list(alone.run(code_delta, deltas, 0))
        with pytest.raises(TryLater) as caught:
            list(encoders.run(_die, _jobs(3), 0))
        assert caught.value.code == "worker-crashed"


def test_threads_give_the_same_as_this_process() -> None:
    """In the same order."""
    with Encoders(2, processes=False) as encoders, Encoders(0) as alone:
        found = list(encoders.run(code_chunk, _jobs(20), encoding.THREADS_FROM_BYTES))
        assert found == list(alone.run(code_chunk, _jobs(20), encoding.THREADS_FROM_BYTES))


def test_little_work_starts_no_process() -> None:
    """Jobs are then taken one by one."""
    taken: list[int] = []
    with Encoders(8, processes=True) as encoders:
        results = encoders.run(code_chunk, _jobs(5, taken), encoding.POOL_FROM_BYTES - 1)
        assert next(results).operation == "zstd"
        assert taken == [0]
        assert encoders._pool is None


def test_few_chunks_are_read_ahead() -> None:
    """However many there are: memory stays bounded."""
    taken: list[int] = []
    with Encoders(2) as encoders:
        results = encoders.run(code_chunk, _jobs(100, taken), encoding.POOL_FROM_BYTES)
        next(results)
        assert len(taken) <= 6
        results.close()  # type: ignore[attr-defined]  # it is a generator


def test_raw_does_not_travel() -> None:
    """A chunk that does not compress comes back as its name only."""
    noise = os.urandom(5000)
    assert code_chunk(ChunkJob(noise, "opaque")) == ("raw", b"")
    assert code_delta(DeltaJob(noise, os.urandom(5000), "opaque")) == ("raw", b"")
    coded = code_delta(DeltaJob(noise + b"x", noise, "opaque"))
    assert coded is not None
    assert decode_delta(coded.operation, coded.data, noise, 5001) == noise + b"x"


def test_the_beginning_of_a_base() -> None:
    """A tensor that lost its last rows costs bytes, but not none: frames are not empty."""
    noise = os.urandom(50_000)
    coded = code_delta(DeltaJob(noise[:40_000], noise, "bf16"))
    assert coded is not None
    assert 0 < len(coded.data) < 100
    assert decode_delta(coded.operation, coded.data, noise, 40_000) == noise[:40_000]


def test_a_wrong_delta_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not decode to the chunk is never handed on."""
    monkeypatch.setattr(encoding, "encode_delta", lambda *_: ("zstd", code_chunk(ChunkJob(b"no" * 50, "opaque")).data))
    assert code_delta(DeltaJob(b"yes" * 33 + b"!", b"base", "opaque")) is None
