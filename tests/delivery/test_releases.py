"""Tests of modelota.delivery.releases."""

from pathlib import Path

import msgspec
import pytest
import zstandard
from tests.delivery import samples
from tests.delivery.memories import Device
from tests.delivery.samples import MODEL

from modelota.delivery import paths, releases
from modelota.delivery.releases import ModelDocuments, candidates, load_documents, load_manifest, lot, read_control
from modelota.errors import ModelotaError, RefuseContent
from modelota.spec import limits
from modelota.spec.catalog import Catalog, Control, Withdrawal
from modelota.spec.document import canonical
from modelota.testing.clock import ManualClock
from modelota.testing.repository import RepositorySimulator

CATALOG = paths.catalog_target(MODEL)
CONTROL = paths.control_target(MODEL)
OPEN = Control(model=MODEL)


@pytest.fixture
def device(tmp_path: Path, clock: ManualClock) -> Device:
    device = Device(tmp_path, RepositorySimulator(clock.now(), MODEL), clock)
    put(device, catalog=samples.catalog("1.1.1", "1.1.2"), control=OPEN)
    put_manifest(device, "1.1.1", samples.packed(samples.manifest("1.1.1")))
    put_manifest(device, "1.1.2", samples.packed(samples.manifest("1.1.2")))
    return device


def put(device: Device, *, catalog: Catalog | bytes | None = None, control: Control | bytes | None = None) -> None:
    for role, path, document in (
        (device.repository.releases, CATALOG, catalog),
        (device.repository.control, CONTROL, control),
    ):
        if document is not None:
            data = document if isinstance(document, bytes) else canonical(document)
            device.repository.set_document(role, path, data)


def put_manifest(device: Device, version: str, data: bytes) -> None:
    device.repository.set_document(device.repository.releases, paths.manifest_target(MODEL, version), data)


def documents_of(device: Device) -> ModelDocuments:
    device.repository.publish()
    return load_documents(device.refresh(), MODEL)


def test_loads_both_documents(device: Device) -> None:
    """Catalog and control come from their roles; nothing is stale."""
    documents = documents_of(device)
    assert documents == (samples.catalog("1.1.1", "1.1.2"), OPEN, None)


def test_stale_documents_say_so(device: Device) -> None:
    """Documents behind an expired role carry the time since when they are stale."""
    device.repository.signed[device.repository.control].expires = device.clock.now()
    device.repository.publish()
    device.repository.timestamp.expires = device.clock.now()
    device.repository.publish("targets")
    device.clock.advance(days=1)
    documents = load_documents(device.refresh(allow_stale=True), MODEL)
    assert documents.stale_since == device.repository.timestamp.expires


@pytest.mark.parametrize("model", ["acme/other", "acme", "../acme/assistant", ""])
def test_a_model_that_is_not_there(device: Device, model: str) -> None:
    """A model that the repository does not have, or that is no name, is model-not-in-repository."""
    device.repository.publish()
    client = device.refresh()
    with pytest.raises(RefuseContent) as caught:
        load_documents(client, model)
    assert caught.value.code == "model-not-in-repository"


@pytest.mark.parametrize(
    ("catalog", "code"),
    [
        (samples.catalog("1.1.2", "1.1.1"), "document-invalid"),
        (samples.catalog("1.1.1", recommended="9.9.9"), "document-invalid"),
        (Catalog(model="acme/other", releases=()), "document-invalid"),
        (samples.catalog("1.0.0"), "document-invalid"),
        (b"{", "document-invalid"),
        (b'{"format": 9}', "document-needs-newer"),
        (canonical(samples.catalog("1.1.1", critical=("releases.colour",))), "document-needs-newer"),
    ],
    ids=str,
)
def test_bad_catalogs(device: Device, catalog: Catalog | bytes, code: str) -> None:
    """A catalog that is properly signed and wrong is refused with the reason."""
    put(device, catalog=catalog)
    with pytest.raises(RefuseContent) as caught:
        documents_of(device)
    assert caught.value.code == code


def test_a_catalog_may_have_unknown_fields(device: Device) -> None:
    """A newer publisher's extra fields do not stop an older device."""
    extended = msgspec.json.encode({**msgspec.to_builtins(samples.catalog("1.1.1")), "colour": "blue"})
    put(device, catalog=extended)
    assert documents_of(device).catalog == samples.catalog("1.1.1")


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"releases": []}, "control-exceeds-authority", "releases"),
        ({"recommended": "1.1.1"}, "control-exceeds-authority", "recommended"),
        (
            {"withdrawn": [{"version": "1.1.1", "reason": "bad", "replace": "2.1.1"}]},
            "control-exceeds-authority",
            "withdrawn.replace",
        ),
        ({"slow_percent": 101}, "document-invalid", None),
        ({"withdrawn": [{"version": "1.1.1", "reason": "Free text"}]}, "document-invalid", None),
        ({"model": "acme/other"}, "document-invalid", None),
        ({"format": 2}, "document-needs-newer", None),
    ],
    ids=str,
)
def test_a_control_takes_away_only(fields: dict[str, object], code: str, detail: str | None) -> None:
    """Any field that a control may not have is control-exceeds-authority; other mistakes are told apart."""
    data = msgspec.json.encode(msgspec.to_builtins(OPEN) | fields)
    with pytest.raises(RefuseContent) as caught:
        read_control(data, MODEL)
    assert caught.value.code == code
    if detail is not None:
        assert caught.value.params == {"model": MODEL, "detail": detail}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"3", b'{"withdrawn": 3}', b'{"withdrawn": [3]}', b'{"model": "\xe4"}', b"[" * 100_000]
)
def test_no_control_at_all(data: bytes) -> None:
    """Bytes that are no control are document-invalid."""
    with pytest.raises(RefuseContent) as caught:
        read_control(data, MODEL)
    assert caught.value.code == "document-invalid"


# -- manifests --------------------------------------------------------------------------------------------------------


def test_loads_a_manifest(device: Device) -> None:
    """A manifest is decompressed, checked, and comes with the digest that the catalog names."""
    documents = documents_of(device)
    loaded = load_manifest(device.refresh(), documents, "1.1.2")
    assert loaded.manifest == samples.manifest("1.1.2")
    release = documents.catalog.release("1.1.2")
    assert release is not None
    assert loaded.digest == release.manifest_digest


def manifest_refusal(device: Device, data: bytes, entry_of: object = None, **changes: object) -> ModelotaError:
    """How version 1.1.3 is refused when its manifest is `data` and its catalog entry describes `entry_of`."""
    described = samples.manifest("1.1.3") if entry_of is None else entry_of
    release = samples.release("1.1.3", described, **changes)  # type: ignore[arg-type]  any document will do here
    put(device, catalog=Catalog(model=MODEL, releases=(release,)))
    put_manifest(device, "1.1.3", data)
    documents = documents_of(device)
    with pytest.raises(RefuseContent) as caught:
        load_manifest(device.refresh(), documents, "1.1.3")
    return caught.value


def test_a_manifest_that_is_not_admitted(device: Device) -> None:
    """A manifest without a catalog entry is release-not-admitted, although it is signed."""
    put_manifest(device, "1.1.3", samples.packed(samples.manifest("1.1.3")))
    documents = documents_of(device)
    with pytest.raises(RefuseContent) as caught:
        load_manifest(device.refresh(), documents, "1.1.3")
    assert caught.value.code == "release-not-admitted"


def test_a_manifest_other_than_the_catalog_names(device: Device) -> None:
    """Another manifest, one of another version or model, or an inconsistent one, is manifest-mismatch."""
    same_length = samples.manifest("1.1.3", notes={"en": "Other!"})
    assert manifest_refusal(device, samples.packed(same_length)).code == "manifest-mismatch"
    other = samples.manifest("1.1.2")
    assert manifest_refusal(device, samples.packed(other), other).code == "manifest-mismatch"
    foreign = samples.manifest("1.1.3", model="acme/other")
    assert manifest_refusal(device, samples.packed(foreign), foreign).code == "manifest-mismatch"
    broken = samples.manifest("1.1.3", packs=())
    assert manifest_refusal(device, samples.packed(broken), broken).code == "manifest-mismatch"
    predecessor = samples.manifest("1.1.3", predecessor="1.0.0")
    assert manifest_refusal(device, samples.packed(predecessor), predecessor).code == "manifest-mismatch"


def test_manifests_that_do_not_unpack(device: Device) -> None:
    """What is no zstd frame, a cut one, or one that asks for too much memory, is document-invalid."""
    packed = samples.packed(samples.manifest("1.1.3"))
    assert manifest_refusal(device, b"not zstd").code == "document-invalid"
    assert manifest_refusal(device, packed[: len(packed) // 2]).code in {"document-invalid", "manifest-mismatch"}
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    greedy = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = greedy.compress(canonical(samples.manifest("1.1.3"))) + greedy.flush()
    assert manifest_refusal(device, data).code == "document-invalid"


def test_a_bomb(device: Device) -> None:
    """A small file that unpacks to gigabytes is stopped at the size that the catalog states."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(256)) + compressor.flush()
    assert len(bomb) < 100_000
    error = manifest_refusal(device, bomb)
    assert error.code == "document-too-large"
    assert error.params["limit_bytes"] == len(canonical(samples.manifest("1.1.3")))
    found = error.params["found_bytes"]
    assert isinstance(found, int)
    assert found < limits.MIB
    error = manifest_refusal(device, bomb, manifest_bytes=1 << 50)
    assert error.params["limit_bytes"] == limits.MANIFEST_MAX_BYTES


# -- candidates -------------------------------------------------------------------------------------------------------


def evaluate(catalog: Catalog, control: Control = OPEN, **options: object) -> list[tuple[str, str | None]]:
    given = {"installed": None, "failed": (), "agent_version": "0.1.0"} | options
    found = candidates(catalog, control, **given)  # type: ignore[arg-type]  the tests' own shorthand
    return [(one.version, one.reason.code if one.reason is not None else None) for one in found]


def test_newest_first() -> None:
    """Releases newer than the installed one, newest first; all of them when nothing is installed."""
    catalog = samples.catalog("1.1.1", "1.1.2", "1.2.1", "2.1.1", "10.1.1")
    assert evaluate(catalog, installed="1.1.2") == [("10.1.1", None), ("2.1.1", None), ("1.2.1", None)]
    assert len(evaluate(catalog)) == 5
    assert evaluate(catalog, installed="10.1.1") == []


def test_reasons() -> None:
    """Each release that is left out has its reason."""
    catalog = Catalog(
        model=MODEL,
        releases=(
            samples.release("1.1.1"),
            samples.release("1.1.2"),
            samples.release("1.1.3"),
            samples.release("1.1.4", agent_min_version="0.10"),
        ),
    )
    control = Control(model=MODEL, withdrawn=(Withdrawal(version="1.1.3", reason="bad-answers"),))
    assert evaluate(catalog, control, failed=["1.1.2"]) == [
        ("1.1.4", "requirement-not-met"),
        ("1.1.3", "release-withdrawn"),
        ("1.1.2", "release-failed-here"),
        ("1.1.1", None),
    ]
    assert evaluate(catalog, Control(model=MODEL, paused=True)) == [
        ("1.1.4", "releases-paused"),
        ("1.1.3", "releases-paused"),
        ("1.1.2", "releases-paused"),
        ("1.1.1", "releases-paused"),
    ]


def test_a_control_admits_nothing() -> None:
    """What a control says about releases that the catalog does not admit changes nothing."""
    control = Control(model=MODEL, withdrawn=(Withdrawal(version="9.9.9", reason="never"),))
    assert evaluate(samples.catalog("1.1.1"), control) == [("1.1.1", None)]


@pytest.mark.parametrize(
    ("need", "have", "fits"),
    [
        ("0.1.0", "0.1.0", True),
        ("0.1", "0.1.0", True),
        ("0.2.0", "0.10.0", True),
        ("0.10.0", "0.2.0", False),
        ("1.0", "1.0rc1", True),
        ("1", "0.9.9", False),
        ("0.1.0", "0.1.0.post1+local", True),
    ],
)
def test_agent_versions(need: str, have: str, *, fits: bool) -> None:
    """Agent versions compare by their numbers."""
    catalog = Catalog(model=MODEL, releases=(samples.release("1.1.1", agent_min_version=need),))
    assert (evaluate(catalog, agent_version=have)[0][1] is None) is fits
    assert releases._numbers("0") == ()


SEEDS = [number.to_bytes(16, "big") for number in range(2000)]


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 99, 100])
def test_a_staged_rollout_reaches_its_share(percent: int) -> None:
    """About so many of all devices are offered the newest release; nobody at 0, everybody at 100."""
    catalog, control = samples.catalog("1.1.1", "1.1.2"), Control(model=MODEL, slow_percent=percent)
    offered = sum(
        candidates(catalog, control, installed="1.1.1", failed=(), agent_version="1", seed=seed)[0].reason is None
        for seed in SEEDS
    )
    assert abs(offered / len(SEEDS) * 100 - percent) <= (0 if percent in {0, 100} else 3)


def test_a_raised_share_takes_nobody_away() -> None:
    """Whoever was offered a release at 10 percent is at 20 percent, too; another release begins with others."""
    first = [{seed for seed in SEEDS if lot(seed, MODEL, version) < 10} for version in ("1.1.2", "1.1.3")]
    assert first[0] <= {seed for seed in SEEDS if lot(seed, MODEL, "1.1.2") < 20}
    assert len(first[0] & first[1]) < len(first[0]) / 4


def test_only_the_newest_release_is_staged() -> None:
    """Older ones are for all, and of a withdrawn one the release before it is the newest."""
    seed = next(seed for seed in SEEDS if lot(seed, MODEL, "1.1.3") > 50 and lot(seed, MODEL, "1.1.2") > 50)
    catalog = samples.catalog("1.1.1", "1.1.2", "1.1.3")

    def reasons(control: Control) -> list[str | None]:
        found = candidates(catalog, control, installed="1.1.1", failed=(), agent_version="1", seed=seed)
        return [each.reason.code if each.reason else None for each in found]

    assert reasons(Control(model=MODEL, slow_percent=50)) == ["release-staged", None]
    withdrawn = (Withdrawal(version="1.1.3", reason="wrong"),)
    assert reasons(Control(model=MODEL, slow_percent=50, withdrawn=withdrawn)) == [
        "release-withdrawn",
        "release-staged",
    ]
    assert reasons(Control(model=MODEL)) == [None, None]
