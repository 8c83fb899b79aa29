from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from peers import bitx, ours
from peers.layout import tensors_of
from peers.pairing import pair_chunks
from training.storing import load, rounded, store

from modelota.content.chunking import cut_file
from modelota.content.formats.registry import parse

MakePair = Callable[[str], tuple[Path, Path]]


class XorCoder:
    """Stands in for the product's codec."""

    baseless = frozenset({"raw"})

    def __init__(self) -> None:
        self.coded = 0

    def encode(self, target: bytes, base: bytes | None, kind: str) -> tuple[str, bytes]:
        self.coded += 1
        return ("raw", target) if base is None else ("xor", self.decode("xor", target, base, len(target)))

    def decode(self, operation: str, coded: bytes, base: bytes, size_bytes: int) -> bytes:
        if operation in {"raw", "copy"}:
            return coded or base
        assert len(base) == size_bytes
        return bytes(a ^ b for a, b in zip(coded, base, strict=True))


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


@pytest.mark.parametrize("make", [XorCoder, ours.ProductCoder])
@pytest.mark.parametrize("paired", [True, False])
def test_our_file_gives_the_target_again(
    make: Callable[[], ours.Coder], paired: bool, small_pair: MakePair, tmp_path: Path
) -> None:
    """With any codec, with a base and without; a tensor that did not change is copied without asking the codec."""
    base, target = small_pair("BF16")
    coder = make()
    steps = ours.Steps(coder, 0, paired=paired)
    steps.encode(base, target, tmp_path / "patch")
    steps.apply(base, tmp_path / "patch", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == target.read_bytes()
    if isinstance(coder, XorCoder) and paired:
        assert 0 < coder.coded < len(list(cut_file(target, parse(target))))


def test_a_damaged_base_is_noticed(small_pair: MakePair, tmp_path: Path) -> None:
    """Every chunk is compared with its digest, so a flipped bit in a tensor that is only copied cannot pass."""
    base, target = small_pair("BF16")
    steps = ours.Steps(XorCoder(), 0)
    steps.encode(base, target, tmp_path / "patch")
    damaged = bytearray(base.read_bytes())
    damaged[next(tensor.offset for tensor in tensors_of(base) if tensor.name == "b")] ^= 1
    base.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        steps.apply(base, tmp_path / "patch", tmp_path / "out")


def test_renamed_tensors_are_paired_by_likeness(tmp_path: Path) -> None:
    """Tensors of one shape under other names in another order find the tensors they came from."""
    rng = np.random.default_rng(4)
    tensors = {f"t{index}": rng.standard_normal((64, 32)).astype(np.float32) for index in range(5)}
    moved = {f"m.{name}": tensors[name] + np.float32(1e-4) for name in reversed(tensors)}
    base, target = tmp_path / "base.safetensors", tmp_path / "target.safetensors"
    store(base, tensors, dtype="F32")
    store(target, moved, dtype="F32")
    chunks = [list(cut_file(path, parse(path))) for path in (base, target)]
    for span, found in pair_chunks(base, chunks[0], target, chunks[1]):
        if span.tensor_name:
            assert found is not None
            assert span.tensor_name == f"m.{found.tensor_name}"


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
