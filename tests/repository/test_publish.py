"""Tests of modelota.repository.publish, and of candidate, scan, build and lineage through it."""

import os
from pathlib import Path
from typing import Any

import pytest

from modelota.content.coding import decode
from modelota.content.digest import digest_bytes
from modelota.content.pack import PackOpener
from modelota.content.wrap import pack_key
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.repository import build
from modelota.repository.control import control
from modelota.repository.enrolment import read_enrolment, renew_class_key
from modelota.repository.passphrases import Passphrases
from modelota.repository.report import PublishProgress
from modelota.repository.workspace import Workspace
from modelota.spec.limits import MIB
from modelota.spec.manifest import Manifest


def _variant(name: str, *files: str) -> dict[str, Any]:
    return {
        "name": name,
        "files": [{"source": file} for file in files],
        "runtime": {"name": "command", "entry": files[0], "profile": "default"},
    }


def _install(workspace: Workspace, manifest: Manifest) -> dict[str, bytes]:
    """What a device of class `car` would make of a release, variant by variant, path by path."""
    store = open_store(workspace.repository_url)
    keys = read_enrolment(workspace, "car").keys
    files = {}
    for variant in manifest.variants:
        package = variant.package("full")
        assert package is not None
        chunks = {}
        for route in package.routes:
            pack, chunk = manifest.packs[route.pack], manifest.chunks[route.chunk]
            sealed = store.get_range(f"packs/{pack.digest[:2]}/{pack.digest}", route.offset, route.length_bytes)
            opener = PackOpener(pack_key(pack, "car", keys), pack.suite, pack.frames, pack.digest)
            chunks[route.chunk] = decode(route.codec, opener.open(route.frame, sealed), chunk.size_bytes)
            assert digest_bytes(chunks[route.chunk]) == chunk.digest
        for entry in variant.files:
            files[f"{variant.name}/{entry.path}"] = b"".join(chunks[index] for index in entry.chunks)
            assert digest_bytes(files[f"{variant.name}/{entry.path}"]) == entry.digest
    return files


def _code(press: Any, workspace: Workspace, source: Path | str, **options: Any) -> str:
    with pytest.raises(ModelotaError) as caught:
        press.publish(workspace, source, **options)
    return caught.value.code


def _public(workspace: Workspace) -> dict[str, bytes]:
    public = workspace.path / "public"
    return {str(path.relative_to(public)): path.read_bytes() for path in public.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suite", ["aes-256-gcm", "chacha20-poly1305", "sm4-gcm"])
def test_a_device_gets_the_bytes_that_were_published(press: Any, suite: str) -> None:
    """Files of all sizes, an empty one included, come out of packs and routes bit-identical, under every suite."""
    shop = press.init(suite=suite).workspace
    big = press.file("big.bin", 9 * MIB)
    big.write_bytes(big.read_bytes() + bytes(3 * MIB))
    press.file("small.bin", 7)
    press.file("none.bin", 0)
    source = press.describe("1.1.1", variants=[_variant("q8", "big.bin", "none.bin"), _variant("q4", "small.bin")])
    report = press.publish(shop, source)
    manifest = press.device(shop).manifest("1.1.1").manifest
    assert _install(shop, manifest) == {
        "q8/big.bin": big.read_bytes(),
        "q8/none.bin": b"",
        "q4/small.bin": (press.directory / "small.bin").read_bytes(),
    }
    assert [variant.size_bytes for variant in report.variants] == [12 * MIB, 7]
    assert (report.new_packs, report.reused_bytes, report.snapshot) == (1, 0, 2)
    assert report.variants[0].ratio is not None
    assert report.variants[0].ratio < 1


def test_nothing_public_tells_the_content(press: Any, shop: Workspace) -> None:
    """No stretch of the model's bytes is found in any public file."""
    press.publish(shop, "1.1.1")
    plain = (press.directory / "1.1.1.bin").read_bytes()
    pieces = [plain[at : at + 16] for at in range(0, len(plain) - 16, 16)]
    for path, data in _public(shop).items():
        assert not any(piece in data for piece in pieces), path


def test_identical_chunks_are_stored_once(press: Any, shop: Workspace) -> None:
    """Within a release, across its variants, and across releases: only what is new is uploaded."""
    same, other = press.file("same.bin", 5 * MIB), press.file("other.bin", 100_000)
    (press.directory / "copy.bin").write_bytes(same.read_bytes())
    source = press.describe("1.1.1", variants=[_variant("q8", "same.bin"), _variant("q4", "copy.bin", "other.bin")])
    first = press.publish(shop, source)
    assert first.new_bytes < 5 * MIB + 200_000
    changed = press.file("other.bin", 100_000, seed=1)
    again = press.describe("1.1.2", variants=[_variant("q8", "same.bin"), _variant("q4", "copy.bin", "other.bin")])
    second = press.publish(shop, again)
    assert second.new_bytes < 110_000
    assert second.reused_bytes > 5 * MIB
    manifest = press.device(shop).manifest("1.1.2").manifest
    assert len(manifest.packs) == 2
    assert _install(shop, manifest)["q4/other.bin"] == changed.read_bytes() != other.name.encode()


def test_a_new_epoch_shares_nothing(press: Any, shop: Workspace) -> None:
    """After a class key was renewed, unchanged chunks are sealed and uploaded again."""
    press.file("same.bin", 2 * MIB)
    press.publish(shop, press.describe("1.1.1", variants=[_variant("q8", "same.bin")]))
    shop, _ = renew_class_key(shop, "car")
    press.file("more.bin")
    report = press.publish(shop, press.describe("1.2.1", variants=[_variant("q8", "same.bin", "more.bin")]))
    assert report.reused_bytes == 0
    packs = press.device(shop).manifest("1.2.1").manifest.packs
    assert {(entry.recipient, entry.epoch) for pack in packs for entry in pack.wraps} == {("car", 2), ("archive", 1)}


def test_packs_are_cut_at_their_target(press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pack exceeds the target, and one release uses as many as it takes."""
    monkeypatch.setattr(build, "PACK_TARGET_BYTES", 5 * MIB)
    press.file("big.bin", 14 * MIB)
    report = press.publish(shop, press.describe("1.1.1", variants=[_variant("q8", "big.bin")]))
    manifest = press.device(shop).manifest("1.1.1").manifest
    assert report.new_packs == len(manifest.packs) == 3
    assert all(pack.size_bytes <= 5 * MIB for pack in manifest.packs)
    assert _install(shop, manifest)["q8/big.bin"] == (press.directory / "big.bin").read_bytes()
    assert not list(shop.path.glob("staging-*"))


def test_one_version_one_content(press: Any, shop: Workspace) -> None:
    """Other content or other promises under a published version, and published content under another: refused."""
    press.publish(shop, "1.1.1")
    before = _public(shop)
    press.file("1.1.1.bin", seed=1)
    assert _code(press, shop, "1.1.1") == "version-exists"
    press.file("1.1.1.bin")
    assert _code(press, shop, press.describe("1.1.1", permissions=["camera"])) == "version-exists"
    (press.directory / "1.1.2.bin").write_bytes((press.directory / "1.1.1.bin").read_bytes())
    with pytest.raises(RefuseContent) as caught:
        press.publish(shop, "1.1.2")
    assert caught.value.code == "version-content-conflict"
    assert caught.value.params == {"version": "1.1.2", "other": "1.1.1"}
    assert _public(shop) == before


def test_the_same_release_again_is_no_error(press: Any, shop: Workspace) -> None:
    """Publishing exactly what is published changes nothing and says so."""
    press.publish(shop, "1.1.1")
    before = _public(shop)
    report = press.publish(shop, "1.1.1")
    assert report.already_published
    assert _public(shop) == before


@pytest.mark.parametrize(
    ("version", "code"), [("1.1.1", "version-order"), ("1.2.2", "version-invalid"), ("1.0.0", "version-invalid")]
)
def test_version_order(press: Any, shop: Workspace, version: str, code: str) -> None:
    """Nothing older than the newest release, and no gap where a lower part restarts."""
    press.publish(shop, "1.1.2")
    assert _code(press, shop, version) == code


CORE = {"id": "core", "prompt": "?", "check": {"kind": "contains", "values": ["yes"]}, "core": True}


def test_promises_are_kept(press: Any, shop: Workspace) -> None:
    """Dropping a core interface, or dropping or changing a core self-test, is refused; adding is fine."""
    press.publish(shop, press.describe("1.1.1", self_tests={"functional": [CORE]}))
    dropped = press.describe("1.1.2", self_tests={"functional": [CORE]}, interfaces=[{"name": "embed"}])
    assert _code(press, shop, dropped) == "interface-dropped"
    assert _code(press, shop, press.describe("1.1.2")) == "core-test-dropped"
    softened = CORE | {"check": {"kind": "contains", "values": ["yes", "no"]}}
    assert _code(press, shop, press.describe("1.1.2", self_tests={"functional": [softened]})) == "core-test-dropped"
    more = press.describe("1.2.1", self_tests={"functional": [CORE]}, interfaces=[{"name": "chat"}, {"name": "embed"}])
    assert press.publish(shop, more).predecessor == "1.1.1"


def test_a_withdrawn_release_is_no_predecessor(press: Any, shop: Workspace) -> None:
    """The next release follows the newest one that is not withdrawn."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    control(shop, clock=press.clock, passphrases=press.passphrases, withdraw={"1.1.2": "bad-answers"})
    assert press.publish(shop, "1.1.3").predecessor == "1.1.1"


def test_a_dry_run_writes_nothing_and_tells_all_refusals(press: Any, shop: Workspace) -> None:
    """Sizes, reach and every refusal in one report, without a passphrase and without a public byte."""
    press.publish(shop, press.describe("1.1.1", self_tests={"functional": [CORE]}))
    before = _public(shop)
    press.passphrases = Passphrases(environ={})
    (press.directory / "1.2.2.bin").write_bytes((press.directory / "1.1.1.bin").read_bytes())
    for key in (shop.path / "keys").glob("snapshot-*"):
        key.unlink()
    report = press.publish(shop, press.describe("1.2.2", interfaces=[], device_models=["hub-3"]), dry_run=True)
    assert [refusal.code for refusal in report.refusals] == [
        "version-invalid",
        "interface-dropped",
        "core-test-dropped",
        "key-missing",
        "version-step-too-small",
        "version-content-conflict",
    ]
    assert (report.device_classes, report.device_models) == (("car",), ("hub-3",))
    assert report.variants[0].size_bytes == 20_000
    assert report.reused_bytes == report.variants[0].full_bytes > 20_000
    assert _public(shop) == before


def test_a_dry_run_of_something_new_gives_the_figures_of_the_real_one(press: Any, shop: Workspace) -> None:
    """Sealed sizes and packs are the same, because the dry run really packs."""
    dry = press.publish(shop, "1.1.1", dry_run=True)
    wet = press.publish(shop, "1.1.1")
    assert (dry.variants, dry.new_packs, dry.new_bytes) == (wet.variants, wet.new_packs, wet.new_bytes)
    assert not dry.refusals


@pytest.mark.parametrize("step", ["reading", "packing"])
@pytest.mark.parametrize("change", ["content", "append", "truncate", "touch", "replace", "remove"])
def test_a_model_that_changes_is_not_published(press: Any, shop: Workspace, step: str, change: str) -> None:
    """Whatever happens to a model file while it is read: refused, nothing visible, no pack left behind."""
    press.file("1.1.1.bin", 9 * MIB)
    file = press.directory / "1.1.1.bin"
    before = _public(shop)
    done = []

    def meddle(progress: PublishProgress) -> None:
        if progress.step != step or progress.done < 4 * MIB or done:
            return
        done.append(change)
        data = file.read_bytes()
        if change == "content":
            with file.open("r+b") as opened:
                opened.write(b"changed")
        elif change == "append":
            with file.open("ab") as opened:
                opened.write(b"more")
        elif change == "truncate":
            os.truncate(file, 5 * MIB)
        elif change == "touch":
            os.utime(file, (1, 1))
        elif change == "replace":
            file.unlink()
            file.write_bytes(data)
        else:
            file.unlink()

    assert _code(press, shop, "1.1.1", on_progress=meddle) == "model-changed"
    assert done
    assert _public(shop) == before


def test_a_bare_model_is_for_trying_out_only(press: Any, shop: Workspace) -> None:
    """With real keys a description is demanded; with trial keys versions count up, and a repetition is recognised."""
    model = press.file("model.gguf")
    assert _code(press, shop, model) == "argument-invalid"
    trial = press.init("trial", dev=True).workspace
    assert press.publish(trial, model).version == "1.1.1"
    assert press.publish(trial, model).already_published
    press.file("model.gguf", seed=1)
    assert press.publish(trial, model).version == "1.1.2"
    press.file("model.gguf", seed=2)
    assert press.publish(trial, model, version="2.1.1").version == "2.1.1"
    assert _code(press, trial, model, version="1.0.0") == "version-invalid"
    press.file("model.gguf")
    assert _code(press, trial, model) == "version-content-conflict"
    assert press.device(trial).versions() == ["1.1.1", "1.1.2", "2.1.1"]


def test_sources_that_are_none(press: Any) -> None:
    """A missing file, an empty directory, an empty file, a description in another encoding."""
    trial = press.init("trial", dev=True).workspace
    (press.directory / "empty").mkdir()
    assert _code(press, trial, press.directory / "absent.gguf") == "model-unreadable"
    assert _code(press, trial, press.directory / "absent.toml") == "model-unreadable"
    assert _code(press, trial, press.directory / "empty") == "model-empty"
    assert _code(press, trial, press.file("zero.gguf", 0)) == "model-empty"
    (press.directory / "latin.toml").write_bytes("größe".encode("latin-1"))
    assert _code(press, trial, press.directory / "latin.toml") == "description-invalid"


def test_arguments_that_contradict_the_description(press: Any, shop: Workspace) -> None:
    """A version, or a model, other than the description says."""
    assert _code(press, shop, "1.1.1", version="1.1.2") == "argument-invalid"
    assert _code(press, shop, "1.1.1", model="acme/other") == "argument-invalid"
    assert _code(press, shop, press.describe("1.1.1", model="acme/other")) == "argument-invalid"


def test_keys_are_asked_for_before_the_work(press: Any, shop: Workspace) -> None:
    """A missing or wrong passphrase, or an absent key, ends publishing before the model is packed."""
    steps: list[str] = []
    options = {"on_progress": lambda progress: steps.append(progress.step)}
    for environ, code in (({}, "passphrase-missing"), ({"MODELOTA_PASSPHRASE": "wrong one"}, "key-unlock-failed")):
        press.passphrases = Passphrases(environ=environ)
        assert _code(press, shop, "1.1.1", **options) == code
    (shop.path / "keys" / "acme..assistant-releases-1.key.toml").unlink()
    assert _code(press, shop, "1.1.1", **options) == "key-missing"
    assert "packing" not in steps


def test_the_repository_must_be_the_one_that_was_seen(press: Any, shop: Workspace) -> None:
    """A missing repository, a damaged one, and an older copy are not built upon."""
    public = shop.path / "public"
    old = _public(shop)
    press.publish(shop, "1.1.1")
    timestamp = public / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes().replace(b'"version":2', b'"version":3', 1))
    assert _code(press, shop, "1.1.2") == "metadata-signature"
    (public / "metadata" / "2.snapshot.json").unlink()
    for path, data in old.items():
        (public / path).write_bytes(data)
    assert _code(press, shop, "1.1.2") == "metadata-rollback"
    timestamp.unlink()
    assert _code(press, shop, "1.1.2") == "repository-not-found"


def test_progress_only_rises(press: Any, shop: Workspace) -> None:
    """Within each step the figure never falls and ends at its total."""
    seen: dict[str, list[PublishProgress]] = {}
    press.file("1.1.1.bin", 9 * MIB)
    press.publish(shop, "1.1.1", on_progress=lambda progress: seen.setdefault(progress.step, []).append(progress))
    assert list(seen) == ["reading", "packing", "uploading", "archiving", "committing"]
    for entries in seen.values():
        assert [entry.done for entry in entries] == sorted(entry.done for entry in entries)
        assert entries[-1].done == entries[-1].total


def test_urgency_reaches_the_catalog(press: Any, shop: Workspace) -> None:
    """A security release with a reason is marked urgent in the catalog, and the reason is in the manifest."""
    urgency = {"reason": {"zh-CN": "漏洞。", "en": "A hole."}}
    press.publish(shop, press.describe("1.1.1", kind="security", urgency=urgency, fixes=["M-17"]))
    device = press.device(shop)
    release = device.documents().catalog.release("1.1.1")
    assert release is not None
    assert (release.urgent, release.fixes) == (True, ("M-17",))
    manifest = device.manifest("1.1.1").manifest
    assert manifest.urgency is not None
    assert manifest.urgency.reason["en"] == "A hole."


def test_asking_errors_are_for_people() -> None:
    """The codes that publishing adds belong to the branch that asks a person."""
    for code in ("self-test-missing", "interface-dropped", "core-test-dropped"):
        assert AskPerson(code).branch == "ask-person"
