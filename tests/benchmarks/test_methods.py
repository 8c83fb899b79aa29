from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from peers import bitx, ours
from peers.layout import tensors_of
from training.storing import load, rounded, store

from modelota.errors import RefuseContent

MakePair = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_the_emulation_gives_the_target_again(dtype: str, small_pair: MakePair, tmp_path: Path) -> None:
    """Planes, XOR and Zstandard are undone exactly, and an unchanged tensor costs nothing."""
    base, target = small_pair(dtype)
    bitx.encode(base, target, tmp_path / "patch")
    bitx.apply(base, tmp_path / "patch", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == target.read_bytes()
    assert (tmp_path / "patch").stat().st_size < target.stat().st_size


def test_the_emulation_of_files_without_tensors(tmp_path: Path) -> None:
    """A file of no known format is coded without a base."""
    (tmp_path / "base").write_bytes(b"abc")
    (tmp_path / "target").write_bytes(os.urandom(1000))
    bitx.encode(tmp_path / "base", tmp_path / "target", tmp_path / "patch")
    bitx.apply(tmp_path / "base", tmp_path / "patch", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "target").read_bytes()


@pytest.mark.parametrize("paired", [True, False])
def test_our_file_gives_the_target_again(paired: bool, small_pair: MakePair, tmp_path: Path) -> None:
    """With a base and without; a tensor that did not change is copied from the base and costs no coded byte."""
    base, target = small_pair("BF16")
    patch, out = tmp_path / "patch", tmp_path / "out"
    with ours.Maker(0, paired=paired) as maker:
        maker.encode(base, target, patch)
    ours.apply(base, patch, out)
    assert out.read_bytes() == target.read_bytes()
    copied = [entry for entry in ours.read_index(patch).entries if entry.operation == ours.COPY]
    assert [entry.size_bytes for entry in copied if entry.size_bytes == 2 * 32 * 64] == [4096] * paired
    assert all(entry.coded_bytes == 0 for entry in copied)


def test_a_repeated_chunk_is_written_to_each_of_its_places(tmp_path: Path) -> None:
    """Two tensors of the same bytes are one chunk of the patch and two of the result."""
    tensors = {name: np.arange(4096, dtype=np.float32) for name in ("a", "b")}
    base, target = tmp_path / "base.safetensors", tmp_path / "target.safetensors"
    store(base, {"c": np.ones(4096, np.float32)}, dtype="F32")
    store(target, tensors, dtype="F32")
    with ours.Maker(0) as maker:
        maker.encode(base, target, tmp_path / "patch")
    ours.apply(base, tmp_path / "patch", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == target.read_bytes()
    index = ours.read_index(tmp_path / "patch")
    assert len(index.order) > len(index.entries)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_damaged_base_is_noticed(name: str, small_pair: MakePair, tmp_path: Path) -> None:
    """A flipped bit in a tensor that is copied, or that a delta is made against, cannot pass."""
    base, target = small_pair("BF16")
    with ours.Maker(0) as maker:
        maker.encode(base, target, tmp_path / "patch")
    damaged = bytearray(base.read_bytes())
    damaged[next(tensor.offset for tensor in tensors_of(base) if tensor.name == name)] ^= 1
    base.write_bytes(damaged)
    with pytest.raises(RefuseContent, match="chunk-mismatch"):
        ours.apply(base, tmp_path / "patch", tmp_path / "out")


def test_tensors_are_paired_as_the_publisher_pairs_them(tmp_path: Path) -> None:
    """Tensors of one shape under other names in another order are coded against those they came from."""
    rng = np.random.default_rng(4)
    tensors = {f"t{index}": rng.standard_normal((64, 32)).astype(np.float32) for index in range(5)}
    moved = {f"m.{name}": tensors[name] + np.float32(1e-4) for name in reversed(tensors)}
    base, target = tmp_path / "base.safetensors", tmp_path / "target.safetensors"
    store(base, tensors, dtype="F32")
    store(target, moved, dtype="F32")
    with ours.Maker(0) as maker:
        maker.encode(base, target, tmp_path / "patch")
    offsets = {tensor.name: tensor.offset for tensor in tensors_of(base)}
    entries = ours.read_index(tmp_path / "patch").entries
    found = [entry.base.offset for entry in entries if entry.size_bytes == 4 * 64 * 32]
    assert found == [offsets[name] for name in reversed(tensors)]


def test_tensors_are_stored_where_the_layout_finds_them(tmp_path: Path) -> None:
    """Order, kinds and values survive writing and reading, bfloat16 rounded to nearest even."""
    values = np.array([1.0, 1.00390625, 1.01171875, -0.0, 3e38], np.float32)
    assert rounded(values, "BF16").tolist() == [0x3F80, 0x3F80, 0x3F82, 0x8000, 0x7F62]
    path = tmp_path / "x.safetensors"
    store(path, {"z": values, "ids": np.arange(3)}, dtype="BF16")
    assert [(tensor.name, tensor.kind, tensor.shape) for tensor in tensors_of(path)] == [
        ("z", "bf16", (5,)),
        ("ids", "i64", (3,)),
    ]
    assert load(path)["ids"].tolist() == [0, 1, 2]
