"""Tests of modelota.repository.founding and modelota.repository.enrolment."""

from pathlib import Path
from typing import Any

import pytest

from modelota.content import wrap
from modelota.errors import AskPerson
from modelota.repository.enrolment import add_class, read_enrolment, renew_class_key
from modelota.repository.founding import add_model
from modelota.repository.keys import read_key, unlock
from modelota.repository.passphrases import Passphrases
from modelota.repository.workspace import Threshold, Thresholds, Workspace
from modelota.spec.enrolment import parse_enrolment


def test_a_new_repository_is_empty_and_whole(press: Any) -> None:
    """A device enrolled with the file of its class finds an empty catalog and an idle control."""
    report = press.init()
    (path,) = report.enrolments
    enrolment = parse_enrolment(path.read_bytes(), str(path))
    assert (enrolment.url, enrolment.models, enrolment.device_class) == (report.url, ("acme/assistant",), "car")
    documents = press.device(report.workspace, anchor=enrolment.root.encode()).documents()
    assert documents.catalog.releases == ()
    assert not documents.control.paused
    assert path.stat().st_mode & 0o777 == 0o600


def test_trying_out_writes_the_enrolment_beside_the_workspace(press: Any) -> None:
    """With `dev` no passphrase is asked for, `enroll.toml` lies beside, and keys and root say what they are."""
    press.passphrases = Passphrases(environ={})
    report = press.init("modelota-repo", dev=True, models=["my/model"], classes=["dev"])
    beside = press.directory / "enroll.toml"
    assert beside in report.enrolments
    assert (
        parse_enrolment(beside.read_bytes(), "enroll.toml").url == (press.directory / "modelota-repo/public").as_uri()
    )
    assert beside.stat().st_mode & 0o777 == 0o600
    assert all(path.name.endswith(".dev-key.toml") for path in report.keys)
    assert b"x-modelota-dev" in report.workspace.trusted_root()


def test_without_passphrase_nothing_is_made(press: Any) -> None:
    """A missing passphrase ends `init`, and no repository exists."""
    press.passphrases = Passphrases(environ={})
    with pytest.raises(AskPerson) as caught:
        press.init()
    assert caught.value.code == "passphrase-missing"
    assert not (press.directory / "repo" / "public" / "metadata").exists()
    assert not (press.directory / "repo" / "publisher.toml").exists()


def test_what_exists_is_not_overwritten(press: Any) -> None:
    """A workspace, a directory with other things, a repository, an enrolment file: each is left alone."""
    report = press.init("one", dev=True)
    (press.directory / "files").mkdir()
    (press.directory / "files" / "mine").write_text("mine")
    public = (report.workspace.path / "public").as_uri()
    for name, options in (
        ("one", {}),
        ("files", {}),
        ("two", {"repository": public}),
        ("three", {"dev": True}),
    ):
        with pytest.raises(AskPerson) as caught:
            press.init(name, **options)
        assert caught.value.code == "repository-exists", name


@pytest.mark.parametrize(
    "options",
    [
        {"models": ["Acme"]},
        {"models": []},
        {"models": ["a/b", "a/b"]},
        {"classes": []},
        {"classes": ["archive"]},
        {"thresholds": Thresholds(root=Threshold(need=2, keys=1))},
    ],
)
def test_arguments_that_make_no_repository(press: Any, options: dict[str, Any]) -> None:
    """Malformed names and thresholds nobody could meet are refused before anything is written."""
    with pytest.raises(AskPerson) as caught:
        press.init(**options)
    assert caught.value.code == "argument-invalid"
    assert not (press.directory / "repo").exists()


@pytest.mark.parametrize("kem", ["x25519", "mlkem768-x25519"])
def test_the_archive_key_is_the_other_half_of_the_recipient(press: Any, kem: str) -> None:
    """The private archive part lies in one sealed file, and its public part is in the configuration."""
    report = press.init(kem=kem)
    key = read_key(report.archive_key)
    private = unlock(key, press.passphrases)
    assert wrap.public_of(kem, private) == key.public == report.workspace.config.archive.public
    assert report.archive_key.parent.name == "offline"


def test_a_second_model(press: Any, shop: Workspace) -> None:
    """A model added later has an empty catalog of its own, and enrolment files name it from then on."""
    changed = add_model(shop, "acme/vision", clock=press.clock, passphrases=press.passphrases)
    assert press.device(changed).documents("acme/vision").catalog.releases == ()
    assert read_enrolment(changed, "car").models == ("acme/assistant", "acme/vision")
    assert Workspace.open(shop.path) == changed
    for name in ("acme/vision", "Vision"):
        with pytest.raises(AskPerson) as caught:
            add_model(changed, name, clock=press.clock, passphrases=press.passphrases)
        assert caught.value.code == "argument-invalid"


def test_a_second_class_and_a_new_epoch(press: Any, shop: Workspace) -> None:
    """New releases are wrapped to every class's current key; older epochs stay in the enrolment file only."""
    press.publish(shop, "1.1.1")
    shop, _ = add_class(shop, "hub", kem="mlkem768-x25519", device_model="hub-3")
    shop, path = renew_class_key(shop, "car")
    press.publish(shop, "1.1.2")
    device = press.device(shop)
    first, second = (device.manifest(version).manifest.packs[0] for version in ("1.1.1", "1.1.2"))
    assert [(entry.recipient, entry.epoch) for entry in first.wraps] == [("archive", 1), ("car", 1)]
    assert [(entry.recipient, entry.epoch) for entry in second.wraps] == [("archive", 1), ("car", 2), ("hub", 1)]
    car = parse_enrolment(path.read_bytes(), str(path))
    assert [key.epoch for key in car.keys] == [1, 2]
    assert wrap.pack_key(first, "car", car.keys) != wrap.pack_key(second, "car", car.keys)
    hub = read_enrolment(shop, "hub")
    assert hub.device_model == "hub-3"
    assert wrap.pack_key(second, "hub", hub.keys) == wrap.pack_key(second, "car", car.keys)


def test_classes_that_cannot_be(press: Any, shop: Workspace) -> None:
    """Taken, reserved, malformed and unknown names, and an enrolment file that was taken away."""
    for name in ("car", "archive", "Car"):
        with pytest.raises(AskPerson) as caught:
            add_class(shop, name)
        assert caught.value.code == "argument-invalid"
    with pytest.raises(AskPerson) as caught:
        renew_class_key(shop, "boat")
    assert caught.value.code == "argument-invalid"
    Path(shop.path / "enrolment" / "car.toml").unlink()
    with pytest.raises(AskPerson) as caught:
        renew_class_key(shop, "car")
    assert caught.value.code == "enrolment-invalid"
