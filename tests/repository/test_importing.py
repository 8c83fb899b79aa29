"""Tests of modelota.repository.importing, and of where it finds models (model_places, ollama_store, model_card)."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.content.formats import build

from modelota.errors import AskPerson, ModelotaError
from modelota.repository.description import find_sources, parse_description
from modelota.repository.importing import ImportReport, import_release
from modelota.repository.model_card import parse_card
from modelota.repository.published import load_published
from modelota.repository.workspace import Workspace

REVISION = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
license: apache-2.0
base_model:
- acme/base-0.5B
datasets: [tales, "maps"]
---
# Assistant
"""


def refused(code: str, detail: str | None, *words: Any, **options: Any) -> AskPerson:
    with pytest.raises(ModelotaError) as caught:
        import_release(*words, **options)
    assert (caught.value.code, caught.value.params.get("detail")) == (code, detail)
    assert isinstance(caught.value, AskPerson)
    return caught.value


def fill_in(path: Path) -> bytes:
    text = path.read_text(encoding="utf-8")
    return text.replace('zh-CN = ""', 'zh-CN = "有"', 1).replace('en = ""', 'en = "is"', 1).encode()


def sources(report: ImportReport) -> dict[str, dict[str, Path]]:
    """The filled-in draft is a description; its files by variant."""
    description = parse_description(fill_in(report.description), "release.toml")
    found = find_sources(description, report.description.parent, "release.toml")
    return {variant.name: dict(variant.files) for variant in found}


def snapshot(directory: Path) -> Path:
    """A model in Hugging Face's cache: links to blobs, two shards, and what a repository keeps beside them."""
    cache = directory / "models--acme--assistant-0.5B"
    place = cache / "snapshots" / REVISION
    place.mkdir(parents=True)
    (cache / "blobs").mkdir()
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(REVISION)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "max_position_embeddings": 32768,
        "torch_dtype": "bfloat16",
    }
    contents = {
        "config.json": json.dumps(config).encode(),
        "tokenizer_config.json": json.dumps({"chat_template": "{{ messages }}" * 50}).encode(),
        "README.md": CARD.encode(),
        "model-00001-of-00002.safetensors": build.safetensors([("a.weight", "BF16", (8, 4), bytes(64))]),
        "model-00002-of-00002.safetensors": build.safetensors([("norm", "F32", (8,), bytes(32))]),
        "pytorch_model.bin": b"\x80\x04pickled",
    }
    for name, data in contents.items():
        blob = cache / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (place / name).symlink_to(Path("../..") / "blobs" / blob.name)
    return place


def put(store: Path, data: bytes) -> dict[str, Any]:
    """A blob of an Ollama store, as its manifest names it."""
    digest = hashlib.sha256(data).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def ollama(store: Path, model: bytes, *, name: str = "assistant", tag: str = "latest", **changes: Any) -> Path:
    """An Ollama store with one model; returns the manifest."""
    kinds = {
        "model": model,
        "template": b"{{ .Prompt }}",
        "license": b"\n  Apache License 2.0\nText\n",
        "params": b"{}",
    }
    layers = [{"mediaType": f"application/vnd.ollama.image.{kind}", **put(store, data)} for kind, data in kinds.items()]
    layers[0] |= changes
    manifest = store / "manifests" / "registry.ollama.ai" / "library" / name / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": put(store, b"{}"), "layers": layers}))
    return manifest


def test_a_gguf_file(shop: Workspace, press: Any, family: Path) -> None:
    """The header of a real file tells all that it knows, and the draft names the file where it lies."""
    report = import_release(shop, family / "1.1.1" / "assistant-q4.gguf", directory=press.directory)
    assert report.description == press.directory / "1.1.1" / "release.toml"
    (variant,) = report.variants
    facts = variant.facts
    assert (facts.architecture, facts.quantisation, facts.parameters) == ("llama", "q4_k_m", 1_344_768)
    assert (facts.licence, facts.context_tokens, facts.chat_template) == ("apache-2.0", 256, True)
    assert sources(report) == {"q4_k_m": {"assistant-q4.gguf": family / "1.1.1" / "assistant-q4.gguf"}}
    draft = tomllib.loads(report.description.read_text(encoding="utf-8"))
    assert draft["variants"][0]["runtime"] == {
        "name": "llama.cpp",
        "entry": "assistant-q4.gguf",
        "context_tokens": 256,
    }
    assert draft["variants"][0]["requires"]["storage_bytes"] == 861_312
    assert draft["provenance"]["licence"] == "apache-2.0"


@pytest.mark.parametrize("version", ["1.1.1", "1.1.2", "2.1.1"])
def test_a_directory_of_quantisations(shop: Workspace, press: Any, family: Path, version: str) -> None:
    """Each GGUF model of a directory is a variant, named by how it is quantised."""
    report = import_release(shop, family / version, directory=press.directory)
    assert set(sources(report)) == {"q4_k_m", "q8_0"}


def test_an_adapter_goes_with_its_model(shop: Workspace, press: Any, family: Path) -> None:
    """An adapter beside a model is loaded with it; alone it is no model."""
    refused("import-refused", "adapter-alone", shop, family / "1.2.1" / "adapter.gguf", directory=press.directory)
    place = press.directory / "both"
    place.mkdir()
    (place / "base.gguf").symlink_to(place / ".." / "base-blob")
    (press.directory / "base-blob").write_bytes((family / "1.1.3" / "assistant-q8.gguf").read_bytes())
    refused("import-refused", "link-outside", shop, place, directory=press.directory)
    (place / "base.gguf").unlink()
    (press.directory / "base-blob").rename(place / "base.gguf")
    (place / "lora.gguf").write_bytes((family / "1.2.1" / "adapter.gguf").read_bytes())
    report = import_release(shop, place, directory=press.directory)
    draft = tomllib.loads(report.description.read_text(encoding="utf-8"))
    assert draft["variants"][0]["runtime"]["adapters"] == ["lora.gguf"]
    assert report.variants[0].facts.parameters == 1_344_768  # of the model alone


def test_a_projector_goes_with_every_model(shop: Workspace, press: Any, family: Path) -> None:
    """A projector of images is no model of its own, also where only its architecture says so."""
    place = press.directory / "seeing"
    place.mkdir()
    for name in ("q4", "q8"):
        (place / f"{name}.gguf").write_bytes((family / "1.1.1" / f"assistant-{name}.gguf").read_bytes())
    for name, key in (("new", ("general.type", "mmproj")), ("old", ("general.architecture", "clip"))):
        (place / f"mmproj-{name}.gguf").write_bytes(build.gguf([build.key_text(*key)], []))
    found = sources(import_release(shop, place, directory=press.directory))
    assert {variant: sorted(files) for variant, files in found.items()} == {
        "q4_k_m": ["mmproj-new.gguf", "mmproj-old.gguf", "q4.gguf"],
        "q8_0": ["mmproj-new.gguf", "mmproj-old.gguf", "q8.gguf"],
    }


def test_a_snapshot(shop: Workspace, press: Any) -> None:
    """Shards, configuration and tokenizer are one variant; pickles stay out; the card tells licence, base and data."""
    place = snapshot(press.directory)
    report = import_release(shop, place.parent.parent, directory=press.directory)
    assert (report.kind, report.name) == ("snapshot", "acme/assistant-0.5B")
    facts = report.variants[0].facts
    assert (facts.architecture, facts.quantisation, facts.parameters) == ("Qwen2ForCausalLM", "bf16", 40)
    assert (facts.context_tokens, facts.chat_template) == (32_768, True)
    (files,) = sources(report).values()
    assert "pytorch_model.bin" not in files
    assert files["config.json"] == place / "config.json"
    assert len(files) == 5
    provenance = tomllib.loads(report.description.read_text(encoding="utf-8"))["provenance"]
    assert provenance["licence"] == "apache-2.0"
    assert provenance["base_model"] == f"acme/assistant-0.5B {REVISION} (acme/base-0.5B)"
    assert provenance["data"] == "tales, maps"
    assert not any(path.is_symlink() for path in report.description.parent.iterdir())


def test_an_ollama_model(shop: Workspace, press: Any, family: Path) -> None:
    """The layers of a manifest become files with names of their own, read from the blobs in place."""
    store = press.directory / "ollama"
    ollama(store, (family / "1.1.1" / "assistant-q8.gguf").read_bytes(), tag="1b")
    report = import_release(shop, store, directory=press.directory)
    assert (report.kind, report.name, report.variants[0].name) == ("ollama", "assistant:1b", "q8_0")
    (files,) = sources(report).values()
    assert set(files) == {"model.gguf", "template.txt", "params.json", "LICENSE"}
    assert files["model.gguf"].parent == store / "blobs"
    ollama(store, (family / "1.1.2" / "assistant-q4.gguf").read_bytes(), name="other")
    several = refused("import-choice", None, shop, store, directory=press.directory)
    assert several.params["models"] == "assistant:1b, other:latest"
    chosen = import_release(shop, store, name="other", version="1.1.2", directory=press.directory)
    assert chosen.variants[0].name == "q4_k_m"
    refused("import-refused", "no-such-model", shop, store, name="../../etc/passwd", directory=press.directory)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"digest": "sha256:../../../../etc/passwd"}, "manifest-invalid"),
        ({"digest": "sha256:" + "A" * 64}, "manifest-invalid"),
        ({"digest": "sha256:" + "0" * 64}, "blob-missing"),
        ({"size": 3}, "blob-mismatch"),
        ({"size": -1}, "manifest-invalid"),
        ({"mediaType": "application/vnd.ollama.image.weights"}, "not-a-model"),
    ],
)
def test_manifests_that_are_traps(shop: Workspace, press: Any, changes: dict[str, Any], detail: str) -> None:
    """A manifest names blobs by digest and nothing else, and a blob is what it says."""
    ollama(press.directory / "ollama", b"GGUF", **changes)
    refused("import-refused", detail, shop, press.directory / "ollama", directory=press.directory)


def test_blobs_that_are_traps(shop: Workspace, press: Any, family: Path) -> None:
    """A blob that is a link, or other bytes of the same length, is not taken; nor is a giant manifest."""
    store = press.directory / "ollama"
    manifest = ollama(store, (family / "1.1.1" / "assistant-q4.gguf").read_bytes())
    layer = json.loads(manifest.read_text())["layers"][0]
    blob = store / "blobs" / layer["digest"].replace(":", "-")
    kept = blob.read_bytes()
    blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused("import-refused", "blob-mismatch", shop, store, directory=press.directory)
    blob.rename(press.directory / "elsewhere")
    blob.symlink_to(press.directory / "elsewhere")
    refused("import-refused", "blob-missing", shop, store, directory=press.directory)
    manifest.write_text("[" * 200_000)
    refused("import-refused", "manifest-invalid", shop, store, directory=press.directory)
    manifest.write_text(" " * 1_100_000)
    refused("import-refused", "json-too-large", shop, store, directory=press.directory)
    manifest.unlink()
    manifest.symlink_to(press.directory / "elsewhere")
    refused("import-refused", "no-such-model", shop, store, directory=press.directory)


def test_snapshots_that_are_traps(shop: Workspace, press: Any) -> None:
    """Links out, round and to directories, a giant or broken configuration, and pickles alone are refused."""
    place = snapshot(press.directory)
    secret = press.file("secret.txt")
    trap = place / "notes.txt"
    for target in (secret, trap, place, place / "nowhere"):
        trap.symlink_to(target)
        refused("import-refused", "link-outside", shop, place, directory=press.directory)
        trap.unlink()
    os.mkfifo(trap)
    refused("model-unreadable", "not a regular file", shop, place, directory=press.directory)
    trap.unlink()
    (place / "config.json").unlink()
    for data, detail in ((b"[" * 100_000, "json-invalid"), (b" " * 1_048_577, "json-too-large")):
        (place / "config.json").write_bytes(data)
        refused("import-refused", detail, shop, place, directory=press.directory)
    (place / "config.json").unlink()
    for shard in place.glob("*.safetensors"):
        shard.unlink()
    refused("import-refused", "pickle-only", shop, place, directory=press.directory)
    deep = place.joinpath(*"abcdefghi")
    deep.mkdir(parents=True)
    refused("import-refused", "too-many-files", shop, place, directory=press.directory)


def test_files_that_are_traps(shop: Workspace, press: Any, family: Path) -> None:
    """What is no GGUF file, one cut off, a part of a split one, and one whose values would end a comment."""
    directory = press.directory
    refused("import-refused", "not-a-model", shop, press.file("a.gguf"), directory=directory)
    cut = directory / "cut.gguf"
    cut.write_bytes((family / "1.1.1" / "assistant-q4.gguf").read_bytes()[:2000])
    refused("import-refused", "header-unreadable", shop, cut, directory=directory)
    part = directory / "m-00001-of-00002.gguf"
    part.write_bytes((family / "1.1.1" / "assistant-q4.gguf").read_bytes())
    refused("import-refused", "part-missing", shop, part, directory=directory)
    sly = directory / "sly.gguf"
    injected = 'llama\nfixes = ["M-1"]\n\x1b[2J'
    sly.write_bytes(build.gguf([build.key_text("general.architecture", injected)], []))
    report = import_release(shop, sly, directory=directory)
    assert report.variants[0].facts.architecture == 'llama fixes = ["M-1"] [2J'
    assert "fixes" not in tomllib.loads(report.description.read_text(encoding="utf-8"))
    refused("model-unreadable", "No such file or directory", shop, directory / "none", directory=directory)


def test_an_imported_release_is_published(shop: Workspace, press: Any, family: Path) -> None:
    """The filled-in draft publishes, and its licence is in the signed manifest; the next draft is the next patch."""
    report = import_release(shop, family / "1.1.1" / "assistant-q4.gguf", directory=press.directory)
    report.description.write_bytes(fill_in(report.description))
    press.publish(shop, report.description)
    published = load_published(shop.store(), shop.trusted_root())
    (release,) = published.catalog("acme/assistant").releases
    assert published.manifest("acme/assistant", release).provenance.licence == "apache-2.0"
    following = import_release(shop, family / "1.1.2" / "assistant-q4.gguf", directory=press.directory)
    draft = tomllib.loads(following.description.read_text(encoding="utf-8"))
    assert (draft["version"], draft["predecessor"]) == ("1.1.2", "1.1.1")


@pytest.mark.parametrize(
    ("text", "licence", "base"),
    [
        (CARD, "apache-2.0", "acme/base-0.5B"),
        ("---\nlicense: other\nlicense_name: acme-1\nbase_model: a/b\n---\n", "acme-1", "a/b"),
        ("---\nlicense: mit\n", "", ""),
        ("license: mit\n---\n", "", ""),
        ("---\nlicense: &a [*a]\nlicense: \x1b[2Jmit\n---\n", "[2Jmit", ""),
        ("", "", ""),
    ],
)
def test_cards(text: str, licence: str, base: str) -> None:
    """Only plain fields between the two lines count, and nothing of them reaches a terminal as a command."""
    card = parse_card(text.encode())
    assert (card.licence, card.base_model) == (licence, base)
