"""A second, independent computation of a llama-architecture GGUF's perplexity: NumPy, whole sequence at once.

Shares nothing with llama.cpp or with our client but the file format's reader.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

Array = NDArray[np.float32]


def perplexity(path: Path, tokens: list[int]) -> float:
    """exp of the mean negative log-likelihood of `tokens[1:]` given what is before each."""
    logits = _logits(GGUFReader(path), tokens)[:-1]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return float(np.exp(-np.mean(logs[np.arange(len(tokens) - 1), tokens[1:]])))


def _logits(reader: GGUFReader, tokens: list[int]) -> NDArray[np.float64]:
    weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float64) for tensor in reader.tensors}

    def number(key: str) -> float:
        return float(reader.fields[f"llama.{key}"].contents())

    heads, groups = int(number("attention.head_count")), int(number("attention.head_count_kv"))
    epsilon, base = number("attention.layer_norm_rms_epsilon"), 10_000.0
    if "llama.rope.freq_base" in reader.fields:
        base = number("rope.freq_base")
    x = weights["token_embd.weight"][tokens]
    size = x.shape[1] // heads
    mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in range(int(number("block_count"))):

        def w(name: str, layer: int = layer) -> NDArray[np.float64]:
            return weights[f"blk.{layer}.{name}.weight"]

        h = _norm(x, w("attn_norm"), epsilon)
        q = _rotate((h @ w("attn_q").T).reshape(len(tokens), heads, size), base)
        k = _rotate((h @ w("attn_k").T).reshape(len(tokens), groups, size), base)
        v = (h @ w("attn_v").T).reshape(len(tokens), groups, size)
        k, v = (np.repeat(part, heads // groups, axis=1) for part in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size) + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", scores, v).reshape(len(tokens), -1) @ w("attn_output").T
        h = _norm(x, w("ffn_norm"), epsilon)
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    x = _norm(x, weights["output_norm.weight"], epsilon)
    return x @ weights.get("output.weight", weights["token_embd.weight"]).T


def _norm(x: NDArray[np.float64], weight: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight


def _rotate(x: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """Rotary position embedding over neighbouring pairs, as GGUF's llama stores them."""
    angles = np.arange(x.shape[0])[:, None] * base ** (-np.arange(0, x.shape[2], 2) / x.shape[2])[None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    even, odd = x[..., ::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)
