"""Which step each kind of change demands (requirement 6.1-b): a table of cases, and the example family."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.content.formats.build import safetensors

from modelota.repository.description import SourceVariant, find_sources, read_description
from modelota.repository.scan import scan_sources
from modelota.repository.steps import Change, Form, Release, changes_between, demanded_step
from modelota.repository.structure import group_name, structure_of
from modelota.spec.manifest import Interface, Requires, RuntimeUse
from modelota.spec.selftest import SelfTests
from modelota.spec.structure import FileStructure, TensorGroup
from modelota.spec.version import Step

VALUES: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Assistant",
    "general.file_type": 7,
    "llama.block_count": 12,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 768,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 4,
    "llama.context_length": 2048,
    "llama.vocab_size": 4096,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.model": "gpt2",
}
TABLES = {
    "tokenizer.ggml.tokens": "a" * 64,
    "tokenizer.ggml.merges": "b" * 64,
    "tokenizer.ggml.token_type": "c" * 64,
    "tokenizer.chat_template": "d" * 64,
}
TENSORS = (
    TensorGroup("blk.#.attn_q.weight", "q8_0", (256, 256), 12),
    TensorGroup("blk.#.ffn_up.weight", "q8_0", (256, 768), 12),
    TensorGroup("output_norm.weight", "f32", (256,)),
    TensorGroup("token_embd.weight", "q8_0", (256, 4096)),
)
MODEL = FileStructure(
    path="model.gguf", format="gguf", parameters=10_000_000, tensors=TENSORS, values=VALUES, tables=TABLES
)
LORA = FileStructure(
    path="lora.gguf",
    format="gguf",
    parameters=50_000,
    tensors=(TensorGroup("blk.#.attn_q.weight.lora_a", "f16", (256, 8), 12),),
    values={"general.type": "adapter"},
)
CONFIG = FileStructure(
    path="config.json",
    format="json",
    values={"model_type": "llama", "architectures": "LlamaForCausalLM", "hidden_size": 256, "num_hidden_layers": 12},
)
TOKENIZER = FileStructure(path="tokenizer.json", format="text", tables={"content": "e" * 64})


def form(name: str = "q8", *files: FileStructure, runtime: str = "llama.cpp", more: tuple[str, ...] = ()) -> Form:
    """A variant of a model file and others; a LoRA file is an adapter."""
    files = files or (MODEL,)
    adapters = tuple(file.path for file in files if file.values.get("general.type") == "adapter")
    entry = files[0].path
    use = RuntimeUse(name=runtime, entry=entry, adapters=adapters)
    return Form(name, use, frozenset({*(file.path for file in files), *more}), files)


def release(*forms: Form, kind: str = "fix", **changes: Any) -> Release:
    plain: dict[str, Any] = {
        "kind": kind,
        "interfaces": (Interface(name="chat"),),
        "permissions": ("network",),
        "user_data_schema": 1,
        "variants": forms or (form(),),
    }
    return Release(**{**plain, **changes})


def model(**changes: Any) -> FileStructure:
    return msgspec.structs.replace(MODEL, **changes)


def valued(**changes: Any) -> Release:
    """The model with other values, by the last part of their keys; None takes one away."""
    keys = {key.rpartition(".")[2]: key for key in VALUES}
    values = {**VALUES, **{keys[name]: value for name, value in changes.items()}}
    return release(form("q8", model(values={key: value for key, value in values.items() if value is not None})))


def tabled(**changes: str) -> Release:
    keys = {key.rpartition(".")[2]: key for key in TABLES}
    return release(form("q8", model(tables={**TABLES, **{keys[name]: value for name, value in changes.items()}})))


def tensors(*groups: TensorGroup, **changes: Any) -> Release:
    return release(form("q8", model(tensors=tuple(sorted(groups, key=lambda group: group.name)), **changes)))


def one(start: str, **changes: Any) -> Release:
    """The model with one group of its tensors changed."""
    return tensors(*(msgspec.structs.replace(g, **changes) if g.name.startswith(start) else g for g in TENSORS))


BASE = release()
HF = release(
    form("q8", msgspec.structs.replace(MODEL, path="model.safetensors", format="safetensors"), CONFIG, TOKENIZER)
)


def snapshot(**changes: Any) -> Release:
    weights = msgspec.structs.replace(MODEL, path="model.safetensors", format="safetensors")
    config = msgspec.structs.replace(CONFIG, values={**CONFIG.values, **changes})
    return release(form("q8", weights, config, TOKENIZER))


CASES: list[tuple[str, Release, Release, Step, set[str]]] = [
    # major: architecture, or parameters by a large amount
    ("another architecture", BASE, valued(architecture="qwen2"), "major", {"architecture-changed"}),
    ("more layers by the header", BASE, valued(block_count=16), "major", {"size-changed"}),
    ("fewer layers by the header", BASE, valued(block_count=8), "major", {"size-changed"}),
    ("a wider network", BASE, valued(embedding_length=512), "major", {"size-changed"}),
    ("a wider feed forward", BASE, valued(feed_forward_length=1024), "major", {"size-changed"}),
    ("more heads", BASE, valued(head_count=16), "major", {"size-changed"}),
    ("fewer key heads", BASE, valued(head_count_kv=2), "major", {"size-changed"}),
    ("a fifth more parameters and some", BASE, tensors(*TENSORS, parameters=12_100_000), "major",
     {"parameters-changed"}),
    ("far fewer parameters", BASE, tensors(*TENSORS, parameters=5_000_000), "major", {"parameters-changed"}),
    ("more layers by the tensors", BASE, one("blk.#.attn_q", count=16), "major", {"layers-changed"}),
    ("a layer gone", BASE, one("blk.#.ffn_up", count=11), "major", {"layers-changed"}),
    ("another shape in the layers", BASE, one("blk.#.attn_q", shape=(256, 512)), "major", {"shape-changed"}),
    ("some layers of another shape", BASE, tensors(*TENSORS, TensorGroup("blk.#.attn_q.weight", "q8_0", (256, 128), 2)),
     "major", {"shape-changed"}),
    ("an interface gone", BASE, release(interfaces=()), "major", {"interface-removed"}),
    ("an interface of another contract", BASE, release(interfaces=(Interface(name="chat", version=2),)), "major",
     {"interface-removed", "interface-added"}),
    ("model_type of a snapshot", HF, snapshot(model_type="mistral"), "major", {"architecture-changed"}),
    ("class of a snapshot", HF, snapshot(architectures="MistralForCausalLM"), "major", {"architecture-changed"}),
    ("hidden size of a snapshot", HF, snapshot(hidden_size=512), "major", {"size-changed"}),
    ("layers of a snapshot", HF, snapshot(num_hidden_layers=24), "major", {"size-changed"}),
    # minor: a module added, removed or improved
    ("tensors added", BASE, tensors(*TENSORS, TensorGroup("blk.#.attn_q.bias", "f32", (256,), 12)), "minor",
     {"tensors-added"}),
    ("tensors removed", BASE, tensors(*TENSORS[:2], TENSORS[3]), "minor", {"tensors-removed"}),
    ("tensors renamed", BASE, one("output_norm", name="final_norm.weight"), "minor",
     {"tensors-added", "tensors-removed"}),
    ("a larger vocabulary", BASE, one("token_embd", shape=(256, 4352)), "minor", {"shape-changed"}),
    ("its size in the header", BASE, valued(vocab_size=4352), "minor", {"vocabulary-changed"}),
    ("other tokens", BASE, tabled(tokens="f" * 64), "minor", {"vocabulary-changed"}),
    ("other merges", BASE, tabled(merges="f" * 64), "minor", {"vocabulary-changed"}),
    ("another tokenizer.json", HF,
     release(form("q8", msgspec.structs.replace(MODEL, path="model.safetensors", format="safetensors"), CONFIG,
                  msgspec.structs.replace(TOKENIZER, tables={"content": "f" * 64}))), "minor", {"vocabulary-changed"}),
    ("a longer context", BASE, valued(context_length=4096), "minor", {"context-changed"}),
    ("a shorter context", BASE, valued(context_length=1024), "minor", {"context-changed"}),
    ("another quantisation", BASE, tensors(*(msgspec.structs.replace(g, dtype="q4_0") for g in TENSORS)), "minor",
     {"precision-changed"}),
    ("an adapter added", BASE, release(form("q8", MODEL, LORA)), "minor", {"adapter-added"}),
    ("an adapter removed", release(form("q8", MODEL, LORA)), BASE, "minor", {"adapter-removed"}),
    ("an adapter of a higher rank", release(form("q8", MODEL, LORA)),
     release(form("q8", MODEL, msgspec.structs.replace(
         LORA, tensors=(TensorGroup("blk.#.attn_q.weight.lora_a", "f16", (256, 16), 12),)))), "major",
     {"shape-changed"}),
    ("a file added", BASE, release(form(more=("voice.onnx",))), "minor", {"file-added"}),
    ("a file removed", release(form(more=("voice.onnx",))), BASE, "minor", {"file-removed"}),
    ("a variant added", BASE, release(form(), form("q4")), "patch", {"variant-added"}),
    ("a variant removed", release(form(), form("q4")), BASE, "patch", {"variant-removed"}),
    ("another runtime", BASE, release(form(runtime="command")), "minor", {"runtime-changed"}),
    ("an interface added", BASE, release(interfaces=(Interface(name="chat"), Interface(name="embed"))), "minor",
     {"interface-added"}),
    ("a permission added", BASE, release(permissions=("network", "microphone")), "patch", {"permission-added"}),
    ("another layout of the user's data", BASE, release(user_data_schema=2), "patch", {"user-data-changed"}),
    ("new features", BASE, release(kind="feature"), "minor", {"new-features"}),
    # patch: a fix, a small optimisation
    ("nothing that a format tells: trained on", BASE, release(), "patch", set()),
    ("a security fix", BASE, release(kind="security"), "patch", set()),
    ("a chat template", BASE, tabled(chat_template="f" * 64), "patch", set()),
    ("a name and a frequency base", BASE, valued(name="Assistant 2", freq_base=10001.0), "patch", set()),
    ("a permission less", BASE, release(permissions=()), "patch", set()),
    ("a header with more in it", valued(head_count_kv=None), BASE, "patch", set()),
    ("a fifth more parameters, not more", BASE, tensors(*TENSORS, parameters=12_000_000), "patch", set()),
    ("a README and a licence", BASE, release(form(more=("README.md", "LICENSE"))), "patch", set()),
    ("weights under another name", BASE, release(form("q8", model(path="assistant.gguf"))), "patch", set()),
    ("a model in shards", HF,
     release(form("q8", *(msgspec.structs.replace(MODEL, path=f"model-{n}-of-2.safetensors", format="safetensors",
                                                  tensors=TENSORS[2 * n - 2 : 2 * n], parameters=5_000_000)
                          for n in (1, 2)), CONFIG, TOKENIZER, more=("model.safetensors.index.json",))), "patch",
     set()),
    ("published before structures were", release(form()._replace(structure=())), valued(architecture="qwen2"), "patch",
     set()),
    # several at once: the largest counts
    ("an adapter and more layers", BASE, release(form("q8", model(values={**VALUES, "llama.block_count": 13}), LORA)),
     "major", {"size-changed", "adapter-added"}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "step", "what"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_a_change_demands(before: Release, after: Release, step: Step, what: set[str]) -> None:
    """Each kind of change demands its step, and is named."""
    changes = changes_between(before, after)
    assert {change.what for change in changes} == what
    assert demanded_step(changes) == step
    assert [change.step for change in changes] == sorted((change.step for change in changes), key=_weight)


def _weight(step: Step) -> int:
    return -("patch", "minor", "major").index(step)


def test_the_table_is_long_enough() -> None:
    """Forty cases and more, as many steps of each kind as matter."""
    assert len(CASES) >= 40
    assert {case[3] for case in CASES} == {"major", "minor", "patch"}


def test_layers_are_one_group() -> None:
    """Numbers stand for layers; digits inside a word are part of its name."""
    assert group_name("blk.12.attn_q.weight") == "blk.#.attn_q.weight"
    assert group_name("model.layers.0.mlp.experts.15.w1") == "model.layers.#.mlp.experts.#.w#"


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> None:
    """A file of f32 tensors of these shapes, with reproducible values."""
    chance = random.Random(seed)
    path.write_bytes(
        safetensors([(name, "F32", shape, chance.randbytes(4 * prod(shape))) for name, shape in shapes.items()])
    )


def scanned(directory: Path, *names: str, entry: str) -> Form:
    """A variant of real files, read as at publishing."""
    use = RuntimeUse(name="llama.cpp", entry=entry)
    files = tuple((name, directory / name) for name in sorted(names))
    variant = SourceVariant("q8", use, Requires(), SelfTests(), files)
    found = structure_of(variant, scan_sources([variant], lambda _: None))
    return Form("q8", use, frozenset(names), found)


FAMILY = ("1.1.1", "1.1.2", "1.1.3", "1.2.1", "2.1.1")
STEPS_TAKEN: tuple[Step, ...] = ("patch", "patch", "minor", "major")


@pytest.mark.parametrize(("versions", "step"), list(zip(pairwise(FAMILY), STEPS_TAKEN, strict=True)))
def test_the_example_family(repository_root: Path, versions: tuple[str, str], step: Step) -> None:
    """Read from descriptions and real files: each release of the family has the version that it has to have."""
    releases = repository_root / "examples" / "family" / "releases"
    old, new = (described(releases / version) for version in versions)
    changes = changes_between(old, new)
    assert demanded_step(changes) == step, changes
    model = next(file for file in old.variants[0].structure if file.path.startswith("assistant"))
    assert (model.values["general.architecture"], model.parameters > 100_000) == ("llama", True)
    assert len(model.tensors) < 40


def described(directory: Path) -> Release:
    """A release of the family, read as at publishing."""
    path = directory / "release.toml"
    said = read_description(path)
    variants = find_sources(said, directory, str(path))
    found = scan_sources(variants, lambda _: None)
    forms = [
        Form(each.name, each.runtime, frozenset(name for name, _ in each.files), structure_of(each, found))
        for each in variants
    ]
    return Release(said.kind, said.interfaces, said.permissions, said.user_data_schema, tuple(forms))


def test_a_snapshot_of_safetensors(tmp_path: Path) -> None:
    """`config.json`, the tokenizer and the tensors are read from a directory in Hugging Face's form."""
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_scaling": {"factor": 2.0}, "x": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text("{}")
    write_safetensors(tmp_path / "model.safetensors", {"model.layers.0.w": (4, 4), "model.layers.1.w": (4, 4)})
    found = {file.path: file for file in scanned(
        tmp_path, "config.json", "tokenizer.json", "model.safetensors", entry="model.safetensors"
    ).structure}  # fmt: skip
    assert found["config.json"].values == {
        "architectures": "LlamaForCausalLM", "model_type": "llama", "rope_scaling.factor": 2.0,
    }  # fmt: skip
    assert found["model.safetensors"].tensors == (TensorGroup("model.layers.#.w", "f32", (4, 4), 2),)
    assert found["model.safetensors"].parameters == 32
    assert set(found["tokenizer.json"].tables) == {"content"}


@pytest.mark.parametrize("text", ["", "[1]", "{", "nul", "{" * 5000])
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    """What is no JSON object is a file like any other."""
    (tmp_path / "config.json").write_text(text)
    write_safetensors(tmp_path / "model.safetensors", {"w": (1,)})
    found = scanned(tmp_path, "config.json", "model.safetensors", entry="model.safetensors")
    assert [file.path for file in found.structure] == ["model.safetensors"]


def test_smaller_is_refused_and_larger_is_noted(press: Any, shop: Any) -> None:
    """A step below what changed is refused with what changed; one above it is published, and the report says so."""
    write_safetensors(press.directory / "a.safetensors", {"w": (8, 8)})
    write_safetensors(press.directory / "b.safetensors", {"w": (8, 8), "v": (8, 8)})
    variants = [{
        "name": "q8",
        "files": [{"source": "a.safetensors", "path": "model.safetensors"}],
        "runtime": {"name": "command", "entry": "model.safetensors", "profile": "default"},
    }]  # fmt: skip
    press.publish(shop, press.describe("1.1.1", variants=variants))
    variants[0]["files"] = [{"source": "b.safetensors", "path": "model.safetensors"}]
    report = press.publish(shop, press.describe("1.1.2", variants=variants), dry_run=True)
    (refusal,) = report.refusals
    assert refusal.code == "version-step-too-small"
    assert (refusal.params["least"], refusal.params["step"]) == ("2.1.1", "major")
    assert [each["what"] for each in refusal.params["changes"]] == ["parameters-changed"]
    report = press.publish(shop, press.describe("2.1.1", variants=variants))
    assert (report.step, report.demanded) == ("major", "major")
    assert Change("minor", "tensors-added", "v", None, "1 of 8×8") in report.changes
    write_safetensors(press.directory / "b.safetensors", {"w": (8, 8), "v": (8, 8)}, seed=1)
    report = press.publish(shop, press.describe("2.2.1", variants=variants))
    assert (report.step, report.demanded, report.changes) == ("minor", "patch", ())
