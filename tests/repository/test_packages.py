"""Tests of modelota.repository.packages, and of differences, tables and pairing through it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.content.formats.build import safetensors
from tests.repository.installing import Installer

from modelota import faults
from modelota.errors import ModelotaError
from modelota.repository import differences, encoding, packages
from modelota.repository.audit import audit
from modelota.repository.control import control
from modelota.repository.enrolment import enrolment_path, read_enrolment, renew_class_key
from modelota.repository.packages import PackageChoice
from modelota.repository.report import PackageReport, PublishProgress, PublishReport
from modelota.repository.workspace import Workspace
from modelota.spec.manifest import Manifest

VALUES = 20_000
Tensors = dict[str, np.ndarray[Any, np.dtype[np.uint16]]]


def weights(seed: int, count: int = 6) -> Tensors:
    """Tensors of one shape in bfloat16."""
    chance = np.random.default_rng(seed)
    numbers = [chance.normal(0, 0.02, VALUES).astype(np.float32) for _ in range(count)]
    return {f"layer.{at}.weight": (one.view(np.uint32) >> 16).astype(np.uint16) for at, one in enumerate(numbers)}


def tuned(tensors: Tensors, seed: int = 9) -> Tensors:
    """The same after some training: a third of the values are a little different."""
    chance = np.random.default_rng(seed)
    return {name: old + (chance.random(old.size) < 0.3).astype(np.uint16) for name, old in tensors.items()}


def save(path: Path, tensors: Tensors, **metadata: str) -> None:
    listed = [(name, "BF16", (old.size // 100, 100), old.tobytes()) for name, old in tensors.items()]
    path.write_bytes(safetensors(listed, **metadata))


def variant(name: str, *files: str, runtime: str = "command") -> dict[str, Any]:
    profile = {"profile": "default"} if runtime == "command" else {}
    return {
        "name": name,
        "files": [{"source": file} for file in files],
        "runtime": {"name": runtime, "entry": files[0], **profile},
    }


def found(report: PublishReport, mode: str, base: str | None = None, name: str = "q8") -> PackageReport:
    """The only package, or the only one that was tried, of a variant."""
    (entry,) = [
        package
        for each in report.variants
        if each.name == name
        for package in each.packages
        if package.mode == mode and base in {None, package.base_version}
    ]
    return entry


def made(report: PublishReport) -> list[tuple[str, str | None, str | None]]:
    return [
        (package.mode, package.base_version, package.skipped) for each in report.variants for package in each.packages
    ]


def code(press: Any, workspace: Workspace, source: Path | str, **options: Any) -> ModelotaError:
    with pytest.raises(ModelotaError) as caught:
        press.publish(workspace, source, **options)
    return caught.value


def public(workspace: Workspace) -> dict[str, bytes]:
    place = workspace.path / "public"
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


class Line:
    """A model that goes on from release to release, in one file unless told otherwise."""

    def __init__(self, press: Any, workspace: Workspace) -> None:
        self.press = press
        self.workspace = workspace

    def release(self, version: str, tensors: Tensors, *, metadata: str = "", **options: Any) -> PublishReport:
        save(self.press.directory / "model.safetensors", tensors, **({"note": metadata} if metadata else {}))
        source = self.press.describe(version, variants=[variant("q8", "model.safetensors")])
        report: PublishReport = self.press.publish(self.workspace, source, **options)
        return report

    def manifest(self, version: str) -> Manifest:
        manifest: Manifest = self.press.device(self.workspace).manifest(version).manifest
        return manifest

    def check(self, version: str) -> int:
        """Rebuild the release by each of its packages."""
        device = self.press.device(self.workspace)
        versions = device.versions()
        assert audit(self.workspace, clock=self.press.clock).ok
        return Installer(self.workspace).check(self.manifest(version), *(self.manifest(other) for other in versions))


@pytest.fixture
def line(press: Any, shop: Workspace) -> Line:
    return Line(press, shop)


# -- the example family


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory, new_press: Any, repository_root: Path
) -> tuple[Line, dict[str, PublishReport]]:
    """The example releases 1.1.1, 1.1.2 and 1.2.1. Read only."""
    from modelota.testing.clock import ManualClock

    press = new_press(tmp_path_factory.mktemp("family"), ManualClock())
    workspace = press.init(dev=True).workspace
    releases = repository_root / "examples" / "family" / "releases"
    reports = {
        version: press.publish(workspace, releases / version / "release.toml")
        for version in ("1.1.1", "1.1.2", "1.2.1")
    }
    return Line(press, workspace), reports


def test_a_dense_fine_tune_is_a_fraction(published: tuple[Line, dict[str, PublishReport]]) -> None:
    """Where every tensor changed the incremental package is skipped with its figures, and deltas do the work."""
    line, reports = published
    report = reports["1.1.2"]
    for name, share in (("q8", 0.5), ("q4", 0.3)):
        (each,) = [each for each in report.variants if each.name == name]
        incremental, differential = found(report, "incremental", name=name), found(report, "differential", name=name)
        assert (incremental.skipped, differential.skipped) == ("too-large", None)
        assert incremental.size_bytes is not None
        assert incremental.size_bytes > 0.9 * each.full_bytes
        assert differential.size_bytes is not None
        assert differential.size_bytes < share * each.full_bytes
    assert line.check("1.1.2") == 2


def test_an_adapter_arrives_as_a_few_percent(published: tuple[Line, dict[str, PublishReport]]) -> None:
    """A LoRA file beside an unchanged model: incremental, no pack of the model is uploaded again."""
    line, reports = published
    report = reports["1.2.1"]
    for each in report.variants:
        package = found(report, "incremental", name=each.name)
        assert package.skipped is None
        assert package.size_bytes is not None
        assert package.size_bytes < 0.13 * each.full_bytes
        assert found(report, "differential", "1.1.2", name=each.name).skipped == "not-smaller"
        assert found(report, "differential", "1.1.1", name=each.name).skipped is None
    assert report.new_bytes < 150_000  # the adapter; the deltas from 1.1.1 are those of 1.1.2
    assert line.check("1.2.1") == 4


@pytest.mark.parametrize("changed", ["tokenizer.chat_template", "tokenizer.ggml.tokens", "general.description"])
def test_metadata_costs_kilobytes(press: Any, shop: Workspace, family: Path, changed: str) -> None:
    """Another chat template, vocabulary or description in the same file: kilobytes, though all tensors moved."""
    shutil.copy(family / "1.1.2" / "assistant-q8.gguf", press.directory / "model.gguf")
    variants = [variant("q8", "model.gguf", runtime="llama.cpp")]
    press.publish(shop, press.describe("1.1.1", variants=variants))
    _rewrite(family / "1.1.2" / "assistant-q8.gguf", press.directory / "model.gguf", changed)
    report = press.publish(shop, press.describe("1.2.1", variants=variants))
    package = found(report, "incremental")
    assert package.skipped is None
    assert package.size_bytes is not None
    assert package.size_bytes < 24_000
    assert report.new_bytes < 40_000
    assert Line(press, shop).check("1.2.1") >= 1


def _rewrite(source: Path, target: Path, changed: str) -> None:
    """Write a GGUF again, by its own library, with one value longer than it was."""
    gguf = pytest.importorskip("gguf")
    from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama", use_temp_file=False)
    if changed == "tokenizer.ggml.tokens":
        tokens = reader.get_field(changed).contents()
        kind, value = gguf.GGUFValueType.ARRAY, ["<changed>" if at == 300 else token for at, token in enumerate(tokens)]
        details = MetadataDetails(kind, value, sub_type=gguf.GGUFValueType.STRING)
    else:
        details = MetadataDetails(gguf.GGUFValueType.STRING, "{% for message in messages %}changed{% endfor %}" * 9)
    copy_with_new_metadata(reader, writer, {changed: details}, [])


# -- pairing


def test_renamed_reordered_and_moved_tensors(press: Any, shop: Workspace) -> None:
    """Tensors under other names, in another order, in two files instead of one, all trained on: still differences."""
    old = weights(1)
    save(press.directory / "model.safetensors", old)
    press.publish(shop, press.describe("1.1.1", variants=[variant("q8", "model.safetensors")]))
    new = tuned(old)
    order = [4, 1, 5, 0, 3, 2]
    renamed = {f"model.blocks.{at}.w": new[f"layer.{number}.weight"] for at, number in enumerate(order)}
    save(press.directory / "a.safetensors", dict(list(renamed.items())[:2]))
    save(press.directory / "b.safetensors", dict(list(renamed.items())[2:]))
    report = press.publish(shop, press.describe("1.2.1", variants=[variant("q8", "a.safetensors", "b.safetensors")]))
    package = found(report, "differential")
    assert package.size_bytes is not None
    assert package.size_bytes < 0.3 * report.variants[0].full_bytes
    assert Line(press, shop).check("1.2.1") == 1


def test_tensors_that_only_moved_cost_nothing(line: Line) -> None:
    """The same values under other names in another order: an incremental package of a header."""
    old = weights(2)
    line.release("1.1.1", old)
    report = line.release("1.2.1", {f"x{name}": old[name] for name in reversed(old)})
    package = found(report, "incremental")
    assert package.size_bytes is not None
    assert package.size_bytes < 2_000
    assert line.check("1.2.1") >= 1


def test_weights_of_an_unknown_format_that_change_in_place(press: Any, shop: Workspace) -> None:
    """An opaque file of the same size is cut where its predecessor was, and differs by numbers."""
    old = np.concatenate(list(weights(3).values()))
    (press.directory / "model.tflite").write_bytes(old.tobytes())
    variants = [variant("q8", "model.tflite")]
    press.publish(shop, press.describe("1.1.1", variants=variants))
    (press.directory / "model.tflite").write_bytes(tuned({"": old})[""].tobytes())
    report = press.publish(shop, press.describe("1.1.2", variants=variants))
    package = found(report, "differential")
    assert package.size_bytes is not None
    assert package.size_bytes < 0.4 * report.variants[0].full_bytes
    assert Line(press, shop).check("1.1.2") == 1


def test_a_renamed_variant_finds_its_predecessor(press: Any, shop: Workspace) -> None:
    """Without a variant of its name the most similar one of the same runtime is the base, if there is one."""
    old, other = weights(4), {f"other.{name}": one for name, one in weights(5).items()}
    save(press.directory / "a.safetensors", other)
    save(press.directory / "b.safetensors", old)
    save(press.directory / "c.safetensors", old, note="not for this runtime")
    before = [
        variant("small", "a.safetensors"),
        variant("large", "b.safetensors"),
        variant("odd", "c.safetensors", runtime="llama.cpp"),
    ]
    press.publish(shop, press.describe("1.1.1", variants=before))
    save(press.directory / "d.safetensors", tuned(old))
    report = press.publish(
        shop,
        press.describe(
            "1.2.1", variants=[variant("big", "d.safetensors"), variant("q8", "d.safetensors", runtime="llama.cpp")]
        ),
    )
    assert found(report, "differential", name="big").base_variant == "large"
    assert found(report, "differential", name="q8").base_variant == "odd"
    assert found(report, "incremental", name="big").base_variant == "large"  # it shares the header
    assert Line(press, shop).check("1.2.1") == 2
    save(press.directory / "e.safetensors", {"new": weights(6)["layer.0.weight"]})
    report = press.publish(shop, press.describe("1.3.1", variants=[variant("other", "e.safetensors")]))
    assert {entry[2] for entry in made(report)[1:]} == {"no-counterpart"}


# -- what is made, and what is not


def test_an_unrelated_model_has_only_a_full_package(line: Line) -> None:
    """Everything else was tried, is skipped with its figures, and leaves no pack; the release goes on."""
    line.release("1.1.1", weights(1))
    report = line.release("1.2.1", {f"z{name}": one for name, one in weights(77).items()})
    assert made(report) == [
        ("full", None, None),
        ("incremental", "1.1.1", "too-large"),
        ("differential", "1.1.1", "not-smaller"),
    ]
    assert all(package.size_bytes for package in report.variants[0].packages)
    assert report.new_packs == 1
    assert line.check("1.2.1") == 0
    assert audit(line.workspace, clock=line.press.clock).unreferenced == []
    assert not list(line.workspace.path.glob("staging-*"))


def test_an_incremental_package_that_is_demanded(line: Line) -> None:
    """Above 30 % it is an error with figures and nothing is published; a dry run lists it; below, it is made."""
    old = weights(1)
    line.release("1.1.1", old)
    before = public(line.workspace)
    choice = PackageChoice(incremental=True)
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.2", tuned(old), packages=choice)
    assert caught.value.code == "incremental-too-large"
    figures = caught.value.params
    assert (figures["variant"], figures["base"], figures["limit"]) == ("q8", "1.1.1", 30)
    assert figures["percent"] == 100
    assert public(line.workspace) == before
    report = line.release("1.1.2", tuned(old), packages=choice, dry_run=True)
    assert [refusal.code for refusal in report.refusals] == ["incremental-too-large"]
    assert line.release("1.1.2", old, metadata="changed", packages=choice).version == "1.1.2"


def test_a_demand_without_a_predecessor(line: Line) -> None:
    """The first release, and one whose predecessors are all withdrawn: refused before the model is read."""
    choice, before = PackageChoice(incremental=True), public(line.workspace)
    seen: list[PublishProgress] = []
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.1", weights(1), packages=choice, on_progress=seen.append)
    assert (caught.value.code, caught.value.params) == ("incremental-without-base", {"detail": "no-predecessor"})
    assert public(line.workspace) == before
    assert seen == []
    dry = line.release("1.1.1", weights(1), packages=choice, dry_run=True)
    assert [refusal.code for refusal in dry.refusals] == ["incremental-without-base"]
    line.release("1.1.1", weights(1))
    control(line.workspace, clock=line.press.clock, passphrases=line.press.passphrases, withdraw={"1.1.1": "bad"})
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.2", tuned(weights(1)), packages=choice)
    assert caught.value.params == {"detail": "no-predecessor"}


def test_a_demand_without_a_counterpart(press: Any, shop: Workspace) -> None:
    """No variant follows one of the predecessor: refused; where one does, a new variant beside it has only its own."""
    save(press.directory / "a.safetensors", weights(1))
    save(press.directory / "b.safetensors", weights(1), note="for another runtime")
    press.publish(shop, press.describe("1.1.1", variants=[variant("q8", "a.safetensors")]))
    other, choice = variant("other", "b.safetensors", runtime="llama.cpp"), PackageChoice(incremental=True)
    refused = code(press, shop, press.describe("1.2.1", variants=[other]), packages=choice)
    assert (refused.code, refused.params) == ("incremental-without-base", {"detail": "no-counterpart"})
    report = press.publish(
        shop, press.describe("1.2.1", variants=[variant("q8", "a.safetensors"), other]), packages=choice
    )
    assert found(report, "incremental", name="q8").skipped is None
    assert found(report, "incremental", name="other").skipped == "no-counterpart"


@pytest.mark.parametrize(("changed", "skipped"), [(1, None), (2, "too-large")])
def test_thirty_percent(line: Line, changed: int, skipped: str | None) -> None:
    """One of six tensors is below the limit of the standard, two are above."""
    old = weights(1)
    line.release("1.1.1", old)
    new = old | {name: tuned({name: old[name]})[name] for name in list(old)[:changed]}
    report = line.release("1.1.2", new)
    assert found(report, "incremental").skipped == skipped
    assert found(report, "differential").skipped is None
    assert line.check("1.1.2") == (1 if skipped else 2)


def test_usual_baselines(line: Line) -> None:
    """The newest three that are not withdrawn, and the first of each major version."""
    tensors = weights(1)
    versions = ["1.1.1", "1.1.2", "1.2.1", "2.1.1", "2.1.2", "2.1.3", "2.1.4"]
    for number, version in enumerate(versions):
        line.release(version, tuned(tensors, number), packages=PackageChoice(full_only=True))
    withdrawn = {"2.1.3": "bad-answers", "1.1.1": "bad-answers"}
    control(line.workspace, clock=line.press.clock, passphrases=line.press.passphrases, withdraw=withdrawn)
    report = line.release("3.1.1", tuned(tensors, 99), dry_run=True)
    tried = [package.base_version for package in report.variants[0].packages if package.mode == "differential"]
    assert tried == ["2.1.4", "2.1.2", "2.1.1", "1.1.2"]


def test_chosen_baselines(line: Line) -> None:
    """What a person names is used, each once; what cannot be is an error before anything is packed."""
    tensors = weights(1)
    for number, version in enumerate(["1.1.1", "1.1.2", "1.1.3"]):
        line.release(version, tuned(tensors, number), packages=PackageChoice(full_only=True))
    control(line.workspace, clock=line.press.clock, passphrases=line.press.passphrases, withdraw={"1.1.2": "bad"})
    for version, detail in (("1.1.2", "withdrawn"), ("1.1.9", "not-older"), ("1.1.4", "not-older")):
        with pytest.raises(ModelotaError) as caught:
            line.release("1.1.4", tuned(tensors, 9), packages=PackageChoice(baselines=(version,)))
        assert (caught.value.code, caught.value.params["detail"]) == ("baseline-unusable", detail)
    with pytest.raises(ModelotaError) as caught:
        line.release("1.2.1", tuned(tensors, 9), packages=PackageChoice(baselines=("1.1.8",)))
    assert caught.value.params["detail"] == "unknown"
    chosen = PackageChoice(baselines=("1.1.1", "1.1.1"))
    dry = line.release("1.1.4", tuned(tensors, 9), packages=PackageChoice(baselines=("1.1.2",)), dry_run=True)
    assert [refusal.code for refusal in dry.refusals] == ["baseline-unusable"]
    report = line.release("1.1.4", tuned(tensors, 9), packages=chosen)
    assert made(report)[2:] == [("differential", "1.1.1", None)]
    assert line.check("1.1.4") == 1


def test_a_named_baseline_that_saves_little(line: Line) -> None:
    """Below 1 % is not worth it by default; who names the pair gets the package, if it is below the full one."""
    first, unrelated = weights(1, 300), {f"z{name}": one for name, one in weights(77, 300).items()}
    name = "layer.0.weight"
    new = unrelated | {name: first[name]}  # one tensor of three hundred is shared
    line.release("1.1.1", first)
    report = line.release("2.1.1", new, dry_run=True)
    assert made(report)[2:] == [("differential", "1.1.1", "not-smaller")]
    report = line.release("2.1.1", new, packages=PackageChoice(baselines=("1.1.1",)))
    package = found(report, "differential")
    assert package.skipped is None
    assert package.size_bytes is not None
    assert 0.99 * report.variants[0].full_bytes < package.size_bytes < report.variants[0].full_bytes
    assert line.check("2.1.1") == 1


def test_a_named_baseline_beside_an_incremental_package(line: Line) -> None:
    """Each pair that is named has its package, also where the incremental one is as small."""
    old = weights(1)
    line.release("1.1.1", old)
    new = old | {"added": weights(5)["layer.0.weight"]}
    assert found(line.release("1.2.1", new, dry_run=True), "differential").skipped == "not-smaller"
    report = line.release("1.2.1", new, packages=PackageChoice(baselines=("1.1.1",)))
    assert (found(report, "incremental").skipped, found(report, "differential").skipped) == (None, None)
    assert line.check("1.2.1") == 2


def test_a_named_baseline_that_saves_nothing(press: Any, shop: Workspace) -> None:
    """It is not made, its figures are told under a name of their own, no pack is left, and the release goes on."""
    press.publish(shop, "1.1.1")
    report = press.publish(shop, "1.1.2", packages=PackageChoice(baselines=("1.1.1",)))
    package = found(report, "differential")
    assert (package.skipped, package.size_bytes) == ("not-below-full", report.variants[0].full_bytes)
    assert press.device(shop).manifest("1.1.2").manifest.variants[0].package("differential") is None
    assert audit(shop, clock=press.clock).unreferenced == []
    assert not list(shop.path.glob("staging-*"))


def test_full_only(line: Line) -> None:
    """Nothing else is even tried."""
    line.release("1.1.1", weights(1))
    report = line.release("1.1.2", tuned(weights(1)), packages=PackageChoice(full_only=True))
    assert made(report) == [("full", None, None)]


def test_descriptions_have_a_limit(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages whose description would make every device fetch too much are left out."""
    monkeypatch.setattr(packages, "DESCRIBED_MAX_BYTES", 500)
    line.release("1.1.1", weights(1))
    line.release("1.1.2", tuned(weights(1)))
    report = line.release("1.1.3", tuned(tuned(weights(1)), 8))
    assert made(report)[2:] == [("differential", "1.1.2", None), ("differential", "1.1.1", "manifest-full")]


def test_a_dry_run_has_the_same_figures_and_writes_nothing(line: Line) -> None:
    """It codes the deltas, too, without a passphrase and without a public byte."""
    line.release("1.1.1", weights(1))
    before = public(line.workspace)
    dry = line.release("1.1.2", tuned(weights(1)), dry_run=True)
    assert public(line.workspace) == before
    assert not list(line.workspace.path.glob("staging-*"))
    wet = line.release("1.1.2", tuned(weights(1)))
    assert (dry.variants, dry.new_packs, dry.new_bytes) == (wet.variants, wet.new_packs, wet.new_bytes)
    again = line.release("1.1.2", tuned(weights(1)))
    assert again.already_published
    kept = [package for package in wet.variants[0].packages if package.skipped is None]
    assert list(again.variants[0].packages) == kept


def test_published_deltas_are_used_again(line: Line) -> None:
    """A chunk that did not change since is not coded, and not uploaded, against the same base a second time."""
    old = weights(1)
    new = old | {name: tuned({name: old[name]})[name] for name in list(old)[:3]}
    line.release("1.1.1", old)
    line.release("1.1.2", new)
    report = line.release("1.1.3", new, metadata="changed")
    assert found(report, "differential", "1.1.1").skipped is None
    assert report.new_bytes < 3_000
    assert line.check("1.1.3") >= 2


# -- keys


def test_a_new_epoch(line: Line) -> None:
    """Deltas against a release of the old epoch lie in packs of the new one only."""
    line.release("1.1.1", weights(1))
    workspace, _ = renew_class_key(line.workspace, "car")
    line = Line(line.press, workspace)
    old = line.manifest("1.1.1")
    report = line.release("1.1.2", tuned(weights(1)))
    assert found(report, "differential").skipped is None
    manifest = line.manifest("1.1.2")
    assert {(wrap.recipient, wrap.epoch) for pack in manifest.packs for wrap in pack.wraps} == {
        ("car", 2),
        ("archive", 1),
    }
    newest = read_enrolment(workspace, "car").keys[-1:]
    device = Installer(workspace, newest)
    package = manifest.variants[0].package("differential")
    assert package is not None
    have = Installer(workspace).full(old, old.variants[0])
    brought = device.chunks(manifest, package, have)
    assert device.files(manifest, manifest.variants[0], have | brought)
    assert line.check("1.1.2") == 1


def test_without_keys_of_the_baseline(line: Line) -> None:
    """A class whose key was taken away: noted, or an error if the baseline was chosen; the archive key helps."""
    line.release("1.1.1", weights(1))
    enrolment_path(line.workspace, "car").unlink()
    new = tuned(weights(1))
    report = line.release("1.1.2", new, dry_run=True)
    assert made(report)[2:] == [("differential", "1.1.1", "locked")]
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.2", new, packages=PackageChoice(baselines=("1.1.1",)))
    assert (caught.value.code, caught.value.params["detail"]) == ("baseline-unusable", "locked")
    (archive,) = (line.workspace.path / "offline").glob("archive-1*")
    report = line.release("1.1.2", new, packages=PackageChoice(baselines=("1.1.1",), archive_key=archive))
    assert made(report)[2:] == [("differential", "1.1.1", None)]


def test_another_key_as_archive_key(line: Line) -> None:
    """A signing key is refused before anything is read."""
    (other,) = (line.workspace.path / "keys").glob("timestamp-1*")
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.1", weights(1), packages=PackageChoice(archive_key=other))
    assert (caught.value.code, caught.value.params["detail"]) == ("argument-invalid", "not-an-archive-key")


# -- bad weather


@pytest.mark.parametrize("how", ["flip", "remove"])
def test_a_damaged_baseline(line: Line, how: str) -> None:
    """Its packages are skipped with the reason, or refused if it was chosen; the release goes on."""
    line.release("1.1.1", weights(1))
    for path in (line.workspace.path / "public" / "packs").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            path.chmod(0o644)
            path.unlink()
            if how == "flip":
                data[100:] = bytes(len(data) - 100)
                path.write_bytes(data)
    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.2", tuned(weights(1)), packages=PackageChoice(baselines=("1.1.1",)))
    assert caught.value.code in {"pack-tampered", "object-missing"}
    report = line.release("1.1.2", tuned(weights(1)))
    assert made(report)[2:] == [("differential", "1.1.1", "unreadable")]
    assert report.new_packs == 1


def test_a_failed_upload_of_deltas_leaves_nothing(line: Line) -> None:
    """Packs of deltas are deleted like all others when publishing fails."""
    line.release("1.1.1", weights(1))
    for passage in (1, 2, 3, 4):
        faults.arm(f"publish.upload@{passage}=ENOSPC")
        try:
            with pytest.raises(ModelotaError) as caught:
                line.release("1.1.2", tuned(weights(1)))
            assert caught.value.code == "no-space"
        finally:
            faults.arm("")
        assert audit(line.workspace, clock=line.press.clock).unreferenced == []
    assert line.release("1.1.2", tuned(weights(1))).new_packs == 2
    assert line.check("1.1.2") == 1


def test_someone_else_publishes_meanwhile(line: Line) -> None:
    """The one who is beaten is told, its packs of deltas are gone, and it can follow with the next version."""
    old = weights(1)
    line.release("1.1.1", old)
    other = Line(line.press, line.workspace)
    beaten = []

    def publish_first(progress: PublishProgress) -> None:
        if progress.step == "committing" and not beaten:
            beaten.append(progress)
            line.press.file("other.bin")
            line.press.publish(line.workspace, line.press.describe("1.1.2", variants=[variant("q8", "other.bin")]))

    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.3", tuned(old), on_progress=publish_first)
    assert caught.value.code == "publish-conflict"
    assert audit(line.workspace, clock=line.press.clock).unreferenced == []
    report = other.release("1.1.3", tuned(old))
    assert made(report)[2:] == [("differential", "1.1.2", "not-smaller"), ("differential", "1.1.1", None)]
    assert other.check("1.1.3") == 1


def test_a_tensor_that_lost_rows(line: Line) -> None:
    """Its last chunk is the beginning of what it was."""
    old = weights(1, 1)
    line.release("1.1.1", old)
    report = line.release("2.1.1", {name: one[:-500] for name, one in old.items()})
    package = found(report, "differential")
    assert package.size_bytes is not None
    assert package.size_bytes < 1_000
    assert line.check("2.1.1") == 1


def test_a_model_that_changes_while_it_is_compared(line: Line) -> None:
    """A third reading is checked like the second; nothing is published."""
    line.release("1.1.1", weights(1))
    before = public(line.workspace)
    file = line.press.directory / "model.safetensors"

    def meddle(progress: PublishProgress) -> None:
        if progress.step == "comparing" and progress.done == 0:
            data = bytearray(file.read_bytes())
            data[-10:] = bytes(10)
            file.write_bytes(data)

    with pytest.raises(ModelotaError) as caught:
        line.release("1.1.2", tuned(weights(1)), on_progress=meddle)
    assert caught.value.code == "model-changed"
    assert public(line.workspace) == before


def test_progress_of_comparing(line: Line) -> None:
    """It rises from zero to its total, with skipped baselines, too."""
    line.release("1.1.1", weights(1))
    seen: list[PublishProgress] = []
    line.release("1.1.2", tuned(weights(1)), on_progress=seen.append)
    entries = [entry for entry in seen if entry.step == "comparing"]
    assert [entry.done for entry in entries] == sorted(entry.done for entry in entries)
    assert entries[0].done == 0
    assert entries[-1].done == entries[-1].total > 0


def test_a_delta_that_does_not_decode_is_replaced(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a coder does, what is published decodes; the report says that something was wrong."""
    line.release("1.1.1", weights(1))
    monkeypatch.setattr(encoding, "decode_delta", lambda *_: b"something else")
    report = line.release("1.1.2", tuned(weights(1)))
    package = found(report, "differential")
    assert (package.skipped, package.dropped) == ("not-smaller", 6)
    monkeypatch.undo()
    assert line.check("1.1.2") == 0


def test_wrong_pairs_cost_bytes_only(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every chunk paired with the wrong one the release is still right."""
    original = differences.pair_chunks

    def shuffled(*files: Any) -> Any:
        pairs = original(*files)
        return dict(zip(pairs, reversed(list(pairs.values())), strict=True))

    monkeypatch.setattr(differences, "pair_chunks", shuffled)
    old = weights(1)
    line.release("1.1.1", old)
    line.release(
        "1.1.2", old | {"layer.0.weight": tuned(old)["layer.0.weight"], "layer.1.weight": old["layer.5.weight"]}
    )
    assert line.check("1.1.2") >= 1


def test_a_file_that_contradicts_itself(press: Any, shop: Workspace) -> None:
    """A file that only looks like a known format is published as it is, and the report says so."""
    data = bytearray(safetensors([("w", "BF16", (100,), bytes(200))]))
    path = press.directory / "model.safetensors"
    path.write_bytes(
        bytes(data).replace(b'"shape":[100]', b'"shape":[101]').replace(b'"shape": [100]', b'"shape": [101]')
    )
    report = press.publish(shop, press.describe("1.1.1", variants=[variant("q8", "model.safetensors")]))
    (note,) = report.notes
    assert (note.path, note.note) == (str(path), "size-mismatch")


def test_tables_are_in_the_description(line: Line) -> None:
    """A manifest with packages survives its own canonical form."""
    line.release("1.1.1", weights(1))
    line.release("1.1.2", tuned(weights(1)))
    manifest = line.manifest("1.1.2")
    package = manifest.variants[0].package("differential", "1.1.1")
    assert package is not None
    assert msgspec.json.decode(msgspec.json.encode(package), type=type(package)) == package
    assert all(route.codec.startswith("delta-") == (route.base is not None) for route in package.routes)
