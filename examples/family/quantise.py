"""Q4_K and Q6_K in NumPy, for tensors small enough not to need C.

The layouts are llama.cpp's (`block_q4_K`, `block_q6_K` in ggml-common.h); `gguf` can read both but not write them. How
the scales are chosen is left to whoever quantises: here, by trying a few grids per group and keeping the one with the
least weighted squared error, then choosing the values again for the scales as they were rounded.

    q4_k  256 values in 144 bytes: f16 d, f16 dmin, 8 x (6-bit scale, 6-bit minimum), 256 x 4 bits
          value = d * scale * q - dmin * minimum, in groups of 32
    q6_k  256 values in 210 bytes: 256 x 4 low bits, 256 x 2 high bits, 16 x int8 scale, f16 d
          value = d * scale * (q - 32), in groups of 16
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

BLOCK = 256


def _reciprocal(x: Floats) -> Floats:
    """1/x, and 0 where x is 0."""
    return np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)


def _halves(x: Floats) -> tuple[Bytes, Floats]:
    """`x` (n,) as f16 in bytes (n, 2), and the values those bytes stand for."""
    half = x.astype("<f2")
    return half.view(np.uint8).reshape(-1, 2), half.astype(np.float32)


def _fit_affine(x: Floats, weight: Floats, levels: int) -> tuple[Floats, Floats]:
    """Scale and minimum, both >= 0, per row of `x` (n, 32), with `scale * q - minimum` near x, 0 <= q <= levels."""
    low = np.minimum(x.min(axis=1), 0.0)
    span = x.max(axis=1) - low
    sum_w, sum_x = weight.sum(axis=1), (weight * x).sum(axis=1)
    best_scale, best_low = span / levels, low
    best_error = np.full(len(x), np.inf, dtype=np.float32)
    for change in np.arange(-1.0, 1.05, 0.1, dtype=np.float32):
        inverse = (levels + change) * _reciprocal(span)
        q = np.clip(np.rint((x - low[:, None]) * inverse[:, None]), 0, levels)
        # The least squares of x over q: a line; where it would start above zero, one through zero.
        sum_q, sum_qq, sum_xq = (weight * q).sum(axis=1), (weight * q * q).sum(axis=1), (weight * x * q).sum(axis=1)
        det = sum_w * sum_qq - sum_q * sum_q
        flat = det <= 1e-5 * sum_w * sum_qq  # all q alike: no line but the one through zero is determined
        inverse_det = _reciprocal(np.where(flat, 0, det).astype(np.float32))
        scale = (sum_w * sum_xq - sum_x * sum_q) * inverse_det
        start = (sum_qq * sum_x - sum_q * sum_xq) * inverse_det
        above = flat | (start > 0)
        scale = np.where(above, sum_xq * _reciprocal(sum_qq), scale)
        start = np.where(above, 0.0, start)
        error = (weight * (scale[:, None] * q + start[:, None] - x) ** 2).sum(axis=1)
        better = (error < best_error) & (scale > 0)
        best_error = np.where(better, error, best_error)
        best_scale, best_low = np.where(better, scale, best_scale), np.where(better, start, best_low)
    return best_scale.astype(np.float32), (-best_low).astype(np.float32)


def q4_k(values: Floats) -> Bytes:
    """Quantise (rows, columns), columns a multiple of 256, to (rows, columns / 256 * 144) bytes."""
    rows = values.shape[0]
    x = values.astype(np.float32).reshape(-1, 32)
    weight = np.sqrt((x * x).mean(axis=1, keepdims=True)) + np.abs(x)
    scale, minimum = (part.reshape(-1, 8) for part in _fit_affine(x, weight, 15))
    d_bytes, d = _halves(scale.max(axis=1) / 63)
    m_bytes, m = _halves(minimum.max(axis=1) / 63)
    scale6 = np.clip(np.rint(scale * _reciprocal(d)[:, None]), 0, 63).astype(np.uint8)
    minimum6 = np.clip(np.rint(minimum * _reciprocal(m)[:, None]), 0, 63).astype(np.uint8)

    step = (d[:, None] * scale6)[..., None]
    start = (m[:, None] * minimum6)[..., None]
    q = np.clip(np.rint((x.reshape(-1, 8, 32) + start) * _reciprocal(step)), 0, 15).astype(np.uint8)

    # Groups 0-3 have 6 bits in bytes 0-3 (scales) and 4-7 (minima); groups 4-7 have 4 low bits of both in bytes 8-11
    # and their 2 high bits on top of the first eight bytes.
    packed = np.empty((len(d), 12), dtype=np.uint8)
    packed[:, 0:4] = scale6[:, :4] | (scale6[:, 4:] >> 4) << 6
    packed[:, 4:8] = minimum6[:, :4] | (minimum6[:, 4:] >> 4) << 6
    packed[:, 8:12] = (scale6[:, 4:] & 15) | (minimum6[:, 4:] & 15) << 4
    nibbles = (q[:, 0::2] | q[:, 1::2] << 4).reshape(-1, 128)
    return np.concatenate([d_bytes, m_bytes, packed, nibbles], axis=1).reshape(rows, -1)


def _fit_linear(x: Floats) -> Floats:
    """A signed scale per row of `x` (n, 16), so that `scale * q` is near x with -32 <= q <= 31."""
    weight = x * x
    at = np.abs(x).argmax(axis=1)
    extreme = x[np.arange(len(x)), at]
    best_scale = np.zeros(len(x), dtype=np.float32)
    best_gain = np.full(len(x), -np.inf, dtype=np.float32)
    for change in np.arange(-0.9, 0.95, 0.1, dtype=np.float32):
        # The value furthest from zero goes to the end with one more level, -32.
        inverse = -(32 + change) * _reciprocal(extreme)
        q = np.clip(np.rint(x * inverse[:, None]), -32, 31)
        sum_xq, sum_qq = (weight * x * q).sum(axis=1), (weight * q * q).sum(axis=1)
        gain = sum_xq * sum_xq * _reciprocal(sum_qq)
        better = gain > best_gain
        best_gain = np.where(better, gain, best_gain)
        best_scale = np.where(better, sum_xq * _reciprocal(sum_qq), best_scale)
    return best_scale.astype(np.float32)


def q6_k(values: Floats) -> Bytes:
    """Quantise (rows, columns), columns a multiple of 256, to (rows, columns / 256 * 210) bytes."""
    rows = values.shape[0]
    x = values.astype(np.float32).reshape(-1, 16)
    scale = _fit_linear(x).reshape(-1, 16)
    extreme = scale[np.arange(len(scale)), np.abs(scale).argmax(axis=1)]
    d_bytes, d = _halves(extreme / -128)
    scale8 = np.clip(np.rint(scale * _reciprocal(d)[:, None]), -128, 127)

    step = (d[:, None] * scale8)[..., None].astype(np.float32)
    q = (np.clip(np.rint(x.reshape(-1, 16, 16) * _reciprocal(step)), -32, 31) + 32).astype(np.uint8)

    # Two halves of 128 values, each four runs of 32: runs 0 and 2 share low-bit bytes 0-31, runs 1 and 3 bytes 32-63,
    # and the two high bits of all four lie in one byte.
    runs = q.reshape(-1, 2, 4, 32)
    low = (runs[:, :, :2] & 15) | (runs[:, :, 2:] & 15) << 4
    high = runs >> 4
    joined = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    parts = [low.reshape(-1, 128), joined.reshape(-1, 64), scale8.astype(np.int8).view(np.uint8), d_bytes]
    return np.concatenate(parts, axis=1).reshape(rows, -1)
