"""Releases that change one thing each, tried under the step they demand and the one below; none is published."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

from modelota.conformance.releases import Table, standin
from modelota.conformance.stage import CHANGES, Stage

BASE: Final = "1.1.1"
STEPS: Final = {"patch": "1.1.2", "minor": "1.2.1", "major": "2.1.1"}
LEAST: Final = {version: step for step, version in STEPS.items()}
_SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    **{f"model.layers.{layer}.weight": (32, 32) for layer in range(8)},
    "model.embed_tokens.weight": (64, 32),
}
_CONFIG: Final[Mapping[str, Any]] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 8,
    "max_position_embeddings": 512, "vocab_size": 64,
}  # fmt: skip


class Form(NamedTuple):
    """A release to try: tensors and their dtype, configuration, what else is different in its description."""

    shapes: Mapping[str, tuple[int, ...]] = _SHAPES
    dtype: str = "F32"
    config: Mapping[str, Any] = _CONFIG
    more: tuple[str, ...] = ()
    head: Mapping[str, Any] = {}


class Tried(NamedTuple):
    """One change: the step it demands, what it was refused for under which step (None: it was not), the least told."""

    demanded: str
    codes: dict[str, str | None]
    least: str | None
    reasons: tuple[str, ...]


def _with(**changes: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    found = {**_SHAPES, **{name.replace("__", "."): shape for name, shape in changes.items()}}
    return {name: shape for name, shape in found.items() if shape is not None}


CASES: Final[Mapping[str, tuple[str, Form]]] = {
    "other-weights": ("patch", Form()),
    "fewer-device-models": ("patch", Form(head={"device_models": ["hub-3"]})),
    "another-architecture": ("major", Form(config={**_CONFIG, "model_type": "mistral"})),
    "a-wider-network": ("major", Form(config={**_CONFIG, "hidden_size": 64})),
    "more-layers": ("major", Form(shapes=_with(model__layers__8__weight=(32, 32)))),
    "another-shape": ("major", Form(shapes=_with(model__layers__0__weight=(32, 48)))),
    "half-as-many-parameters-more": ("major", Form(shapes=_with(model__extra=(80, 80)))),
    "a-tensor-more": ("minor", Form(shapes=_with(model__norm__weight=(32,)))),
    "a-tensor-less": ("minor", Form(shapes=_with(model__embed_tokens__weight=None))),
    "another-precision": ("minor", Form(dtype="F16")),
    "a-larger-vocabulary": ("minor", Form(shapes=_with(model__embed_tokens__weight=(72, 32)))),
    "a-longer-context": ("minor", Form(config={**_CONFIG, "max_position_embeddings": 1024})),
    "a-module-more": ("minor", Form(more=("voice.bin",))),
    "an-interface-more": ("minor", Form(head={"interfaces": [{"name": "chat"}, {"name": "embed"}]})),
    "new-features": ("minor", Form(head={"kind": "feature"})),
}  # fmt: skip


def steps(stage: Stage) -> dict[str, Tried]:
    """Publish a base, and dry-run each change under the step that it demands and under the one below."""
    workshop, folder = stage.workshop, stage.scratch / "steps"
    workshop.publish(_release(folder, "base", Form(), BASE, seed=0))

    def dry(case: tuple[str, str]) -> dict[str, Any]:
        name, step = case
        table = _release(folder, name, CASES[name][1], STEPS[step], seed=1)
        done = workshop.try_publish(table, "--dry-run", name=f"{name}-{step}")
        found = [entry for each in done.objects for entry in each.get("refusals", ())]
        refusals: list[dict[str, Any]] = found or ([done.error] if done.error else [])
        return refusals[0] if refusals else {}

    order = list(STEPS)
    tries = [
        (name, step)
        for name, (demanded, _) in CASES.items()
        for step in order[max(0, order.index(demanded) - 1) : order.index(demanded) + 1]
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(tries, pool.map(dry, tries), strict=True))
    return {name: _tried(name, {step: each for (of, step), each in answers.items() if of == name}) for name in CASES}


def _tried(name: str, answers: Mapping[str, dict[str, Any]]) -> Tried:
    told: dict[str, Any] = next(
        (answer["params"] for answer in answers.values() if answer.get("params", {}).get("least")), {}
    )
    reasons = tuple(str(change["what"]) for change in told.get("changes", ()))
    return Tried(
        CASES[name][0], {step: answer.get("code") for step, answer in answers.items()}, told.get("least"), reasons
    )


def _release(folder: Path, name: str, form: Form, version: str, *, seed: int) -> Table:
    place = folder / f"{name}-{version}"
    table = standin(place, CHANGES, version)
    wrote: list[tuple[str, Callable[[Path], object]]] = [
        ("model.safetensors", lambda path: path.write_bytes(_safetensors(form, seed))),
        ("config.json", lambda path: path.write_text(json.dumps(dict(form.config)), encoding="utf-8")),
        *((more, lambda path: path.write_bytes(_octets(4096, seed))) for more in form.more),
    ]
    for file, write in wrote:
        write(place / file)
        table["variants"][0]["files"].append({"source": str(place / file), "path": file})
    return {**table, **form.head}


def _safetensors(form: Form, seed: int) -> bytes:
    """The file as its format describes it: a length, a header in JSON, the values."""
    width = {"F32": 4, "F16": 2}[form.dtype]
    header: dict[str, Any] = {}
    at = 0
    for name, shape in form.shapes.items():
        size_bytes = width * prod(shape)
        header[name] = {"dtype": form.dtype, "shape": list(shape), "data_offsets": [at, at + size_bytes]}
        at += size_bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + _octets(at, seed)


def _octets(size_bytes: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)  # noqa: S311  the same bytes in every run, no secret
