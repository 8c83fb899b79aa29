"""What a delta could cost, computed from the pair itself: the reference that the bars compare with.

Both count the tensors that base and target have in common by name, kind and shape (others count in full) and nothing
for headers. Both are fractions of the target file's size.

`adaptive_code_length`, for bf16, fp16 and fp32: per tensor and per exponent of the base's value, the zigzag values of
the difference target - base (as unsigned integers, modulo their width) are coded one after the other, each at the
probability that the Krichevsky-Trofimov estimator gives it over 257 symbols: the values below 256, and an escape that
is followed by the excess in the Elias gamma code. This is a code length that a decoder could follow, learning costs
included; no entropy in hindsight.

`order0_residuals`, for Q8_0 and Q4_0: per tensor and per exponent of the base's scale, the empirical entropy of two
residuals: the difference of the scales' 16 bits, and the quants minus what the old quants times the old scale, divided
by the new scale and rounded, foretell. This is an entropy in hindsight: the cost of describing it is not counted.
Norms and biases, float32, count the code length of how many bits their zigzag values have (the same estimator, per
tensor), and those bits but the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from peers.layout import WORD_BYTES, Tensor, tensors_of

Words = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]
Scales = npt.NDArray[np.uint16]

PLAIN = 256  # zigzag values below this are symbols of their own
EXPONENT_SHIFTS = {"bf16": (7, 0xFF), "fp16": (10, 0x1F), "fp32": (23, 0xFF)}
QUANT_LIMITS = {"q8_0": (-128, 127), "q4_0": (-8, 7)}


def bounds(base: Path, target: Path) -> dict[str, float]:
    """Those bounds that mean something for this pair, as fractions of the target's size."""
    sizes: dict[str, int] = {}
    for tensor in tensors_of(target):
        sizes[tensor.kind] = sizes.get(tensor.kind, 0) + tensor.size_bytes
    main = max(sizes, key=lambda kind: sizes[kind], default="")
    quantised = main in QUANT_LIMITS
    if not quantised and main not in WORD_BYTES:
        return {}
    bits, rest_bytes = 0.0, sum(sizes.values())
    for tensor, old, new in _common(base, target):
        if tensor.kind in QUANT_LIMITS:
            bits += _quant_bits(old, new, tensor.kind)
        elif tensor.kind in WORD_BYTES:
            bits += _float_bits(old, new, tensor.kind, by_length=quantised)
        else:
            continue
        rest_bytes -= tensor.size_bytes
    if 2 * rest_bytes > sum(sizes.values()):
        return {}  # another model: a bound of the few others says nothing
    return {
        "order0_residuals" if quantised else "adaptive_code_length": (bits / 8 + rest_bytes) / target.stat().st_size
    }


def _common(base: Path, target: Path) -> Iterator[tuple[Tensor, bytes, bytes]]:
    there = {(tensor.name, tensor.kind, tensor.shape): tensor.offset for tensor in tensors_of(base)}
    with base.open("rb") as old_file, target.open("rb") as new_file:
        for tensor in tensors_of(target):
            offset = there.get((tensor.name, tensor.kind, tensor.shape))
            if offset is not None and tensor.size_bytes:
                old_file.seek(offset)
                new_file.seek(tensor.offset)
                yield tensor, old_file.read(tensor.size_bytes), new_file.read(tensor.size_bytes)


def zigzag(old: Words, new: Words, width_bits: int) -> Words:
    """The difference as an unsigned number: 0, -1, 1, -2 become 0, 1, 2, 3."""
    mask = np.uint32((1 << width_bits) - 1)
    difference = (new - old) & mask
    sign = difference >> np.uint32(width_bits - 1)
    return ((difference << np.uint32(1)) ^ (np.uint32(0) - sign)) & mask


def _float_bits(old: bytes, new: bytes, kind: str, *, by_length: bool) -> float:
    width = f"<u{WORD_BYTES[kind]}"
    base, target = (np.frombuffer(data, width).astype(np.uint32) for data in (old, new))
    values = zigzag(base, target, WORD_BYTES[kind] * 8)
    if by_length:
        lengths = np.ceil(np.log2(values.astype(np.float64) + 1)).astype(np.uint32)
        return _counts_bits(np.bincount(lengths, minlength=33)) + float(
            np.maximum(lengths.astype(np.int64) - 1, 0).sum()
        )
    shift, mask = EXPONENT_SHIFTS[kind]
    return adaptive_bits(values, (base >> np.uint32(shift)) & np.uint32(mask))


def adaptive_bits(values: Words, contexts: Words) -> float:
    """The code length in bits of `values`, one adaptive table per context.

    What the estimator spends does not depend on the order of the symbols, only on how often each occurs.
    """
    excess = (values[values >= PLAIN] - np.uint32(PLAIN) + np.uint32(1)).astype(np.float64)
    bits = float((2 * np.floor(np.log2(excess)) + 1).sum()) if excess.size else 0.0
    symbols = np.minimum(values, PLAIN).astype(np.int64)
    width = PLAIN + 1
    counts = np.bincount(contexts.astype(np.int64) * width + symbols, minlength=0)
    counts = np.pad(counts, (0, -len(counts) % width)).reshape(-1, width)
    return bits + sum(_counts_bits(row) for row in counts if row.any())


def _counts_bits(counts: Integers) -> float:
    """What the estimator spends on symbols that occur this often."""
    total, width, half = int(counts.sum()), len(counts), math.lgamma(0.5)
    likelihood = sum(math.lgamma(count + 0.5) - half for count in counts[counts > 0].tolist())
    return (math.lgamma(total + width / 2) - math.lgamma(width / 2) - likelihood) / math.log(2)


def _quant_bits(old: bytes, new: bytes, kind: str) -> float:
    old_scales, old_quants = _blocks(old, kind)
    new_scales, new_quants = _blocks(new, kind)
    exponents = (old_scales >> 10 & 0x1F).astype(np.int64)
    scale_change = zigzag(old_scales.astype(np.uint32), new_scales.astype(np.uint32), 16).astype(np.int64)
    foretold = foretell(old_quants, old_scales, new_scales, kind)
    return entropy_bits(scale_change, exponents) + entropy_bits(
        new_quants - foretold, np.broadcast_to(exponents[:, None], new_quants.shape)
    )


def foretell(quants: Integers, old_scales: Scales, new_scales: Scales, kind: str) -> Integers:
    """The old quants (blocks, 32) on the new scales (blocks,), rounded and clipped; the same where no number."""
    low, high = QUANT_LIMITS[kind]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = old_scales.view(np.float16).astype(np.float64) / new_scales.view(np.float16).astype(np.float64)
    factor = np.where(np.isfinite(factor), factor, 1.0)
    return np.clip(np.rint(quants * factor[:, None]), low, high).astype(np.int64)


def _blocks(data: bytes, kind: str) -> tuple[Scales, Integers]:
    """Scales (blocks,) as 16 bits and signed quants (blocks, 32)."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, 34 if kind == "q8_0" else 18)
    scales = rows[:, :2].copy().view("<u2")[:, 0]
    body = rows[:, 2:]
    if kind == "q8_0":
        return scales, body.view(np.int8).astype(np.int64)
    return scales, np.concatenate([body & 15, body >> 4], axis=1).astype(np.int64) - 8


def entropy_bits(values: Integers, contexts: Integers) -> float:
    """The empirical order-0 entropy of `values` given their contexts, times their number."""
    pairs = contexts.astype(np.int64).ravel() * (1 << 20) + (values.ravel() + (1 << 19))
    _, counts = np.unique(pairs, return_counts=True)
    _, totals = np.unique(contexts, return_counts=True)
    return float((totals * np.log2(totals)).sum() - (counts * np.log2(counts)).sum())
