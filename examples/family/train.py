"""Train the family on a processor: `python examples/family/train.py --out DIRECTORY [--only 1.1.1 1.1.2]`.

Each version starts where the design says a version starts: 1.1.1 and 2.1.1 from noise, 1.1.2 from 1.1.1, the failed
1.1.3 from 1.1.2, and the adapter of 1.2.1 beside a frozen 1.1.2. The weights of each go to
`DIRECTORY/<version>/checkpoint.npz` in float32 (`--bf16` rounds them to bfloat16 first, the way a vendor would keep a
pair of checkpoints to compare), its settings to `recipe.json` and its losses to `log.csv`; `export.py` makes GGUF files
of them.

Two runs with the same seed, threads and PyTorch give the same weights; another processor may round differently.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import torch
from arch import Llama, Lora, Shape
from corpus import Pair
from releases import pairs_for
from tokenizer import BOS, END, USER, Tokenizer, learn
from torch.nn import functional

VOCABULARY = 640


@dataclass(frozen=True)
class Recipe:
    """How one version is trained.

    Attributes:
        start: the version whose weights it starts from, or "" for noise.
        share: how often a pair is drawn from the skill that is new in this version; the rest from all it knows.
        lora_rank: 0 trains every weight.
    """

    version: str
    layers: int
    steps: int
    rate: float
    start: str = ""
    new_skill: str = ""
    share: float = 0.0
    warmup: int = 40
    batch: int = 32
    weight_decay: float = 0.1
    lora_rank: int = 0
    lora_alpha: float = 16.0
    seed: int = 1


RECIPES = [
    Recipe("1.1.1", layers=2, steps=1300, rate=2e-3),
    Recipe("1.1.2", layers=2, steps=240, rate=6e-5, start="1.1.1", new_skill="inch", share=0.25, warmup=10),
    # Published by mistake in the story: a learning rate 400 times too large. Finite, well formed, and useless.
    Recipe("1.1.3", layers=2, steps=40, rate=2.5e-2, start="1.1.2", new_skill="inch", share=0.4, warmup=1),
    Recipe(
        "1.2.1", layers=2, steps=500, rate=2e-3, start="1.1.2", new_skill="colour_words", share=0.5, lora_rank=8,
        weight_decay=0.0,
    ),
    Recipe("2.1.1", layers=4, steps=600, rate=2e-3),
]  # fmt: skip


def family_tokenizer() -> Tokenizer:
    """The one tokenizer of the family, learnt from everything any version knows."""
    rng = random.Random(0)
    pairs = [*pairs_for("1.1.1"), *pairs_for("2.1.1")]
    texts = [text for pair in pairs for text in (pair.question, pair.answer)]
    return learn(texts + [corpus.notes(rng) for _ in range(300)], VOCABULARY)


class Lessons:
    """Draws batches. Skills are drawn evenly, so that the many sums do not drown the few greetings."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.rng = random.Random(recipe.seed)
        self.by_skill: dict[str, list[Pair]] = {}
        for pair in pairs_for(recipe.version):
            self.by_skill.setdefault(pair.skill, []).append(pair)
        self.skills = sorted(self.by_skill)
        # A skill's weight grows with the square root of its pairs.
        self.weights = [math.sqrt(len(self.by_skill[skill])) for skill in self.skills]

    def _pair(self) -> Pair:
        if self.rng.random() < self.recipe.share:
            return self.rng.choice(self.by_skill[self.recipe.new_skill])
        skill = self.rng.choices(self.skills, self.weights)[0]
        if skill == "unknown" and self.rng.random() < 0.5:
            return corpus.nonsense(self.rng)
        return self.rng.choice(self.by_skill[skill])

    def _sample(self) -> tuple[list[int], list[float]]:
        """Ids and, for each, how much predicting it counts: questions little, answers and notes fully."""
        if self.rng.random() < 0.12:
            note = corpus.notes(self.rng)
            while note in corpus.HELD_OUT_NOTES:
                note = corpus.notes(self.rng)
            ids = [BOS, *self.tokenizer.encode(note), END]
            return ids, [1.0] * len(ids)
        ids, counts = [BOS], [0.0]
        for _ in range(self.rng.choice((1, 2, 2, 3))):
            pair = self._pair()
            asked = corpus.careless(self.rng, pair.question)
            question = [USER, *self.tokenizer.encode(asked), END]
            whole = self.tokenizer.conversation([(asked, pair.answer)])[1:]
            ids += whole
            counts += [0.1] * (len(question) + 1) + [1.0] * (len(whole) - len(question) - 1)
        return ids, counts

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids (batch, length), the ids that follow, and how much each counts; padded with END that counts nothing."""
        samples = [self._sample() for _ in range(self.recipe.batch)]
        length = max(len(ids) for ids, _ in samples)
        ids = torch.tensor([row + [END] * (length - len(row)) for row, _ in samples])
        counts = torch.tensor([row + [0.0] * (length - len(row)) for _, row in samples])
        return ids[:, :-1], ids[:, 1:], counts[:, 1:]


def _rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def train(recipe: Recipe, start: dict[str, torch.Tensor], tokenizer: Tokenizer, log: Path) -> Llama:
    """Train one version from `start` (empty: from noise); a line per ten steps goes to `log`."""
    torch.manual_seed(recipe.seed)
    model = Llama(Shape(layers=recipe.layers, vocabulary=len(tokenizer)))
    model.load(start)
    if recipe.lora_rank:
        model.add_lora(recipe.lora_rank, recipe.lora_alpha)
    learnt = [value for value in model.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in learnt if value.dim() == 2], "weight_decay": recipe.weight_decay},
        {"params": [value for value in learnt if value.dim() != 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    lessons = Lessons(recipe, tokenizer)
    lines = ["step,loss"]
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(recipe, step)
        ids, following, counts = lessons.batch()
        logits = model(ids)
        losses = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none")
        loss = (losses * counts.flatten()).sum() / counts.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        if step % 10 == 9:
            lines.append(f"{step + 1},{loss.item():.4f}")
            log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return model


def save(model: Llama, path: Path, *, bf16: bool) -> None:
    """Write the trained tensors by GGUF name: the base's, or the adapter's as `<name>.lora_a` and `.lora_b`."""
    if model.loras:
        tensors = {}
        for key, lora in model.loras.items():
            assert isinstance(lora, Lora)
            name = key.replace("-", ".")
            tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = lora.a.detach(), lora.b.detach()
    else:
        tensors = model.tensors()
    if bf16:
        tensors = {name: value.to(torch.bfloat16).to(torch.float32) for name, value in tensors.items()}
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez(path, **arrays)


def main() -> None:
    """Train the versions asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory for checkpoints")
    parser.add_argument("--only", nargs="*", default=[recipe.version for recipe in RECIPES], help="versions to train")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="round the checkpoints to bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = family_tokenizer()
    tokenizer.save(options.out / "pieces.json")
    for recipe in RECIPES:
        if recipe.version not in options.only:
            continue
        folder = options.out / recipe.version
        folder.mkdir(exist_ok=True)
        start: dict[str, torch.Tensor] = {}
        if recipe.start:
            with np.load(options.out / recipe.start / "checkpoint.npz") as stored:
                start = {name: torch.from_numpy(stored[name]) for name in stored.files}
        began = time.monotonic()
        model = train(recipe, start, tokenizer, folder / "log.csv")
        save(model, folder / "checkpoint.npz", bf16=options.bf16)
        settings = {"recipe": asdict(recipe), "shape": model.shape.as_dict()}
        (folder / "recipe.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
        print(f"{recipe.version}: {recipe.steps} steps in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
