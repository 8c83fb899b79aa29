"""Train a llama of 9.8 M weights on the example family's lessons, and fine-tune it: weights for pairs of GGUF files.

    python benchmarks/training/llama.py --out DIRECTORY

Runs under a Python that has torch and numpy. It is the example family's architecture and data at four times its width
squared, so that a tensor holds enough blocks to compare. Writes float32 safetensors by GGUF names: `base`, `dense`
(every weight fine-tuned) and `attention` (only the queries' and values' matrices). The same seed, threads, PyTorch and
processor give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from storing import load, store
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "family"))
from arch import Llama, Shape
from tokenizer import Tokenizer
from train import Lessons, Recipe, _rate

FAMILY = Path(__file__).parents[2] / "examples" / "family"
SHAPE = Shape(layers=4, vocabulary=0, hidden=512, heads=8, kv_heads=4, feed_forward=1024)

BASE = Recipe("1.1.1", layers=4, steps=260, rate=1.5e-3, batch=8)
DENSE = replace(BASE, version="1.1.2", steps=60, rate=6e-5, new_skill="inch", share=0.25, warmup=5, seed=2)
RUNS = {"base": (BASE, ""), "dense": (DENSE, ""), "attention": (replace(DENSE, rate=2e-4), "attn_q attn_v")}


def train(recipe: Recipe, start: Path | None, parts: str) -> Llama:
    """Train from `start`, or from noise; `parts` names the only matrices that learn, or is empty for all."""
    torch.manual_seed(recipe.seed)
    tokenizer = Tokenizer.load(FAMILY / "pieces.json")
    model = Llama(replace(SHAPE, vocabulary=len(tokenizer)))
    if start:
        model.load({name: torch.from_numpy(values.copy()) for name, values in load(start).items()})
    for key, value in model.weights.items():
        value.requires_grad_(not parts or any(part in key for part in parts.split()))
    learnt = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    lessons = Lessons(recipe, tokenizer)
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(recipe, step)
        ids, following, counts = lessons.batch()
        losses = functional.cross_entropy(model(ids).flatten(0, 1), following.flatten(), reduction="none")
        loss = (losses * counts.flatten()).sum() / counts.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        if step % 20 == 19:
            print(f"{recipe.version}: step {step + 1}, loss {loss.item():.3f}", file=sys.stderr)
    return model


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature
    options.out.mkdir(parents=True, exist_ok=True)
    for name, (recipe, parts) in RUNS.items():
        path = options.out / f"{name}.safetensors"
        if path.exists():
            continue
        began = time.monotonic()
        model = train(recipe, None if name == "base" else options.out / "base.safetensors", parts)
        store(path, {key: value.numpy() for key, value in model.tensors().items()}, dtype="F32")
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
