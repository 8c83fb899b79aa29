"""The architecture in PyTorch: llama as llama.cpp runs it, small enough to train on a processor in minutes.

Rotary positions turn *neighbouring* pairs of a head (2i, 2i+1), which is llama.cpp's layout for this architecture; the
weights therefore go into a GGUF file as they are. `to_safetensors.py` reorders them for the layout of Transformers.
Tensor names here are GGUF's, so a state is a checkpoint is a file.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. Rows must be multiples of 256 values: that is the block of the K-quants."""

    layers: int
    vocabulary: int
    hidden: int = 256
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 512
    context: int = 256
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """Values per attention head."""
        return self.hidden // self.heads

    def as_dict(self) -> dict[str, int | float]:
        """The sizes by name."""
        return asdict(self)


class Lora(nn.Module):
    """A low-rank addition to one frozen matrix: `scale * b(a(x))`, `scale` being alpha / rank."""

    def __init__(self, columns: int, rows: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, columns) / math.sqrt(columns))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """What is added for `x` (..., columns)."""
        return functional.linear(functional.linear(x, self.a), self.b) * self.scale


class Llama(nn.Module):
    """The model. `weights` are the base's tensors by GGUF name without the dots; `loras` may be added to matrices."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.weights = nn.ParameterDict()
        self.loras = nn.ModuleDict()
        kv = shape.head * shape.kv_heads
        matrices = {
            "attn_q": (shape.hidden, shape.hidden),
            "attn_k": (kv, shape.hidden),
            "attn_v": (kv, shape.hidden),
            "attn_output": (shape.hidden, shape.hidden),
            "ffn_gate": (shape.feed_forward, shape.hidden),
            "ffn_up": (shape.feed_forward, shape.hidden),
            "ffn_down": (shape.hidden, shape.feed_forward),
        }
        self._add("token_embd.weight", torch.randn(shape.vocabulary, shape.hidden) * 0.05)
        for i in range(shape.layers):
            for name, (rows, columns) in matrices.items():
                depth = math.sqrt(2 * shape.layers) if name in {"attn_output", "ffn_down"} else 1.0
                self._add(f"blk.{i}.{name}.weight", torch.randn(rows, columns) / math.sqrt(columns) / depth)
            self._add(f"blk.{i}.attn_norm.weight", torch.ones(shape.hidden))
            self._add(f"blk.{i}.ffn_norm.weight", torch.ones(shape.hidden))
        self._add("output_norm.weight", torch.ones(shape.hidden))
        angle = shape.rope_base ** (-torch.arange(0, shape.head, 2).float() / shape.head)
        turns = torch.outer(torch.arange(shape.context).float(), angle)
        self.register_buffer("cos", turns.cos(), persistent=False)
        self.register_buffer("sin", turns.sin(), persistent=False)

    def _add(self, name: str, value: Tensor) -> None:
        self.weights[name.replace(".", "-")] = nn.Parameter(value)

    def tensor(self, name: str) -> Tensor:
        """The base tensor with this GGUF name."""
        value: Tensor = self.weights[name.replace(".", "-")]
        return value

    def tensors(self) -> dict[str, Tensor]:
        """Every base tensor by its GGUF name, detached."""
        return {name.replace("-", "."): value.detach() for name, value in self.weights.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over base tensors by GGUF name."""
        with torch.no_grad():
            for name, value in tensors.items():
                self.tensor(name).copy_(value)

    def add_lora(self, rank: int, alpha: float) -> None:
        """Freeze the base and put a low-rank addition beside every matrix of every layer."""
        for key, value in self.weights.items():
            value.requires_grad_(False)  # noqa: FBT003
            if key.startswith("blk-") and value.dim() == 2:
                self.loras[key] = Lora(value.shape[1], value.shape[0], rank, alpha)

    def _apply_matrix(self, name: str, x: Tensor) -> Tensor:
        key = name.replace(".", "-")
        y = functional.linear(x, self.weights[key])
        return y + self.loras[key](x) if key in self.loras else y

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (self.shape.hidden,), self.tensor(name), self.shape.norm_epsilon)

    def _turn(self, x: Tensor) -> Tensor:
        """Rotary positions on `x` (batch, heads, length, head)."""
        length = x.shape[2]
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = self.cos[:length], self.sin[:length]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)

    def _attend(self, i: int, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        shape = self.shape

        def heads(name: str, count: int) -> Tensor:
            y = self._apply_matrix(f"blk.{i}.{name}.weight", x)
            return y.view(batch, length, count, shape.head).transpose(1, 2)

        q = self._turn(heads("attn_q", shape.heads))
        k = self._turn(heads("attn_k", shape.kv_heads))
        v = heads("attn_v", shape.kv_heads)
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self._apply_matrix(f"blk.{i}.attn_output.weight", y.transpose(1, 2).reshape(batch, length, -1))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (batch, length, vocabulary) for `ids` (batch, length)."""
        table = self.tensor("token_embd.weight")
        x = functional.embedding(ids, table)
        for i in range(self.shape.layers):
            x = x + self._attend(i, self._norm(f"blk.{i}.attn_norm.weight", x))
            y = self._norm(f"blk.{i}.ffn_norm.weight", x)
            gate = functional.silu(self._apply_matrix(f"blk.{i}.ffn_gate.weight", y))
            up = self._apply_matrix(f"blk.{i}.ffn_up.weight", y)
            x = x + self._apply_matrix(f"blk.{i}.ffn_down.weight", gate * up)
        return functional.linear(self._norm("output_norm.weight", x), table)
