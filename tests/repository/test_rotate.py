"""Tests of modelota.repository.rotate, refresh, status, control and history."""

import json
import shutil
from datetime import timedelta
from typing import Any

import pytest

from modelota import faults
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.repository.audit import audit
from modelota.repository.control import control
from modelota.repository.history import history
from modelota.repository.passphrases import Passphrases
from modelota.repository.refresh import refresh
from modelota.repository.rotate import rotate_key
from modelota.repository.status import status
from modelota.repository.workspace import Threshold, Thresholds, Workspace
from modelota.spec.document import canonical

ROLES = ["root", "targets", "snapshot", "timestamp", "acme/assistant-releases", "acme/assistant-control"]


@pytest.mark.parametrize("role", ROLES)
def test_devices_follow_a_new_key(press: Any, shop: Workspace, role: str) -> None:
    """A device that knew the old root, one that was there yesterday, and a new one all go on; the new key signs."""
    press.publish(shop, "1.1.1")
    old = press.device(shop, "old")
    old.versions()
    anchor = shop.trusted_root()
    report = rotate_key(shop, role, clock=press.clock, passphrases=press.passphrases)
    assert (report.added.rpartition("-")[2], report.removed.rpartition("-")[2]) == ("2", "1")
    (shop.path / "keys" / f"{report.removed}.key.toml").unlink()
    press.publish(shop, "1.1.2")
    control(shop, clock=press.clock, passphrases=press.passphrases, paused=True)
    late = press.device(shop, "late", anchor=anchor)
    new = press.device(shop, "new")
    assert [device.versions() for device in (old, late, new)] == [["1.1.1", "1.1.2"]] * 3
    assert new.documents().control.paused


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_lost_key_is_replaced(press: Any, shop: Workspace, role: str) -> None:
    """With the root's key alone, a role whose only key is gone gets a new one."""
    press.publish(shop, "1.1.1")
    device = press.device(shop)
    device.versions()
    (shop.path / "keys" / f"{role}-1.key.toml").unlink()
    if role != "targets":
        with pytest.raises(AskPerson) as caught:
            press.publish(shop, "1.1.2")
        assert caught.value.code == "key-missing"
    for passage in (2, 1):  # the new root is there and nothing signed by it; then not even that
        faults.arm(f"publish.*@{passage}=ENOSPC")
        with pytest.raises(AskPerson) as caught:
            rotate_key(shop, role, clock=press.clock, passphrases=press.passphrases)
        faults.arm("")
        assert caught.value.code == "no-space"
    rotate_key(shop, role, clock=press.clock, passphrases=press.passphrases)
    press.publish(shop, "1.1.2")
    assert device.versions() == ["1.1.1", "1.1.2"]


def test_several_roots_are_crossed(press: Any, shop: Workspace) -> None:
    """A device that was offline for five root versions follows the chain."""
    device = press.device(shop)
    device.versions()
    for _ in range(5):
        rotate_key(shop, "root", clock=press.clock, passphrases=press.passphrases)
    press.publish(shop, "1.1.1")
    assert device.versions() == ["1.1.1"]
    assert b'"version":6' in shop.trusted_root()


@pytest.mark.parametrize(
    ("role", "remove"), [("snapshots", None), ("acme/other-releases", None), ("root", "root-9"), ("root", "targets-1")]
)
def test_keys_that_are_not_there(press: Any, shop: Workspace, role: str, remove: str | None) -> None:
    """An unknown role, and a key that is none of the role's."""
    with pytest.raises(AskPerson) as caught:
        rotate_key(shop, role, clock=press.clock, passphrases=press.passphrases, remove=remove)
    assert caught.value.code == "argument-invalid"


def test_two_of_three(press: Any) -> None:
    """Any two of three keys publish, rotate and refresh; one alone does not; a device counts them."""
    both = Threshold(need=2, keys=3)
    shop = press.init(thresholds=Thresholds(root=both, targets=both, releases=both, snapshot=both)).workspace
    keys = shop.path / "keys"
    assert len(list(keys.glob("acme..assistant-releases-*"))) == 3
    (keys / "acme..assistant-releases-1.key.toml").unlink()
    (keys / "root-2.key.toml").unlink()
    press.publish(shop, "1.1.1")
    rotate_key(shop, "root", clock=press.clock, passphrases=press.passphrases, remove="root-1")
    device = press.device(shop)
    assert device.versions() == ["1.1.1"]
    signed = json.loads((shop.path / "public/metadata/2.acme/assistant-releases.json").read_bytes())
    assert len(signed["signatures"]) == 2
    (keys / "acme..assistant-releases-2.key.toml").unlink()
    with pytest.raises(AskPerson) as caught:
        press.publish(shop, "1.1.2")
    assert caught.value.params == {"role": "acme/assistant-releases", "have": 1, "need": 2}
    report = status(shop, fail_within=timedelta(0), clock=press.clock)
    assert [(role.need, role.keys, role.at_hand) for role in report.roles if role.role.endswith("releases")] == [
        (2, 3, 1)
    ]


def test_refresh_keeps_devices_going(press: Any, shop: Workspace) -> None:
    """After the timestamp expired a device refuses; after a refresh it goes on, the release being the same."""
    press.publish(shop, "1.1.1")
    device = press.device(shop)
    press.clock.advance(days=15)
    with pytest.raises(RefuseContent) as caught:
        device.versions()
    assert caught.value.code == "metadata-expired"
    report = refresh(shop, clock=press.clock, passphrases=press.passphrases)
    assert report.signed == ("snapshot", "timestamp")
    assert device.versions() == ["1.1.1"]


def test_refresh_signs_what_expires_and_names_what_it_cannot(press: Any, shop: Workspace) -> None:
    """Roles near their end are signed anew when their keys are at hand, and reported when they are not."""
    press.publish(shop, "1.1.1")
    device = press.device(shop)
    press.clock.advance(days=725)
    for name in ("targets-1", "root-1"):
        (shop.path / "keys" / f"{name}.key.toml").rename(press.directory / name)
    report = refresh(shop, clock=press.clock, passphrases=press.passphrases)
    assert report.signed == ("acme/assistant-releases", "acme/assistant-control", "snapshot", "timestamp")
    assert [(role, error.code) for role, error in report.left] == [("targets", "key-missing"), ("root", "key-missing")]
    for name in ("targets-1", "root-1"):
        (press.directory / name).rename(shop.path / "keys" / f"{name}.key.toml")
    assert refresh(shop, clock=press.clock, passphrases=press.passphrases).signed[-1] == "root"
    press.clock.advance(days=10)
    assert device.versions() == ["1.1.1"]


def test_refresh_needs_the_online_keys(press: Any, shop: Workspace) -> None:
    """Without the timestamp's passphrase nothing is written; a wrong one is told as such."""
    before = (shop.path / "public/metadata/timestamp.json").read_bytes()
    for environ, code in (({}, "passphrase-missing"), ({"MODELOTA_PASSPHRASE": "wrong one"}, "key-unlock-failed")):
        with pytest.raises(AskPerson) as caught:
            refresh(shop, clock=press.clock, passphrases=Passphrases(environ=environ))
        assert caught.value.code == code
    assert (shop.path / "public/metadata/timestamp.json").read_bytes() == before


def test_status_for_cron(press: Any, shop: Workspace) -> None:
    """What expires within the given time is failing; the rest is not; releases and withdrawals are listed."""
    press.publish(shop, "1.1.1")
    control(shop, clock=press.clock, passphrases=press.passphrases, withdraw={"1.1.1": "bad"})
    report = status(shop, fail_within=timedelta(days=7), clock=press.clock)
    assert [role.role for role in report.roles] == ROLES
    assert report.failing == ()
    assert (report.dev, report.plain_keys, report.lags) == (False, False, False)
    assert [(model.releases, model.withdrawn) for model in report.models] == [(("1.1.1",), ("1.1.1",))]
    press.clock.advance(days=8)
    report = status(shop.repository_url, fail_within=timedelta(days=7), clock=press.clock)
    assert [role.role for role in report.failing] == ["timestamp"]
    assert report.plain_keys is None


def test_status_says_what_is_for_trying_out(press: Any) -> None:
    """A trial repository says so in its root, to anyone who reads it; it stays valid for a year."""
    shop = press.init(dev=True).workspace
    press.clock.advance(days=300)
    for where in (shop, shop.repository_url):
        report = status(where, fail_within=timedelta(days=7), clock=press.clock)
        assert report.dev
        assert report.failing == ()


def test_status_of_nothing(press: Any) -> None:
    """A directory that is no repository."""
    for path in (press.directory, press.directory / "absent"):
        with pytest.raises(RefuseContent) as caught:
            status(path.as_uri(), fail_within=timedelta(0), clock=press.clock)
        assert caught.value.code == "repository-not-found"


def test_the_brake(press: Any, shop: Workspace) -> None:
    """Pause, withdraw, slow down, and take each back; what is not mentioned stays."""
    press.publish(shop, "1.1.1")
    options = {"clock": press.clock, "passphrases": press.passphrases}
    control(shop, withdraw={"1.1.1": "wrong-answers"}, slow_percent=10, **options)
    after = control(shop, paused=True, **options)
    device = press.device(shop)
    assert device.documents().control == after
    assert (after.paused, after.slow_percent) == (True, 10)
    assert [(entry.version, entry.reason) for entry in after.withdrawn] == [("1.1.1", "wrong-answers")]
    control(shop, paused=False, reinstate=("1.1.1",), slow_percent=100, **options)
    assert not device.documents().control.withdrawn


def test_a_release_with_a_flaw_is_revoked(press: Any, shop: Workspace) -> None:
    """The flag reaches devices, other changes leave it, a plain withdrawal is as it always was, both are taken back."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    options = {"clock": press.clock, "passphrases": press.passphrases}
    control(shop, withdraw={"1.1.1": "wrong-answers"}, revoke={"1.1.2": "leaks-data"}, **options)
    control(shop, paused=True, **options)
    found = press.device(shop).documents().control
    assert [(entry.version, entry.reason, entry.revoked) for entry in found.withdrawn] == [
        ("1.1.1", "wrong-answers", False),
        ("1.1.2", "leaks-data", True),
    ]
    assert canonical(found).count(b"revoked") == 1  # a device that does not know the word reads plain withdrawals
    control(shop, revoke={"1.1.1": "worse-answers"}, reinstate=("1.1.2",), **options)
    (entry,) = press.device(shop).documents().control.withdrawn
    assert (entry.version, entry.reason, entry.revoked) == ("1.1.1", "worse-answers", True)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"revoke": {"1.1.2": "bad"}}, "release-not-admitted"),
        ({"revoke": {"1.1.1": "It is bad"}}, "argument-invalid"),
        ({"withdraw": {"1.1.2": "bad"}}, "release-not-admitted"),
        ({"withdraw": {"1.0.0": "bad"}}, "version-invalid"),
        ({"withdraw": {"1.1.1": "It is bad"}}, "argument-invalid"),
        ({"slow_percent": 101}, "argument-invalid"),
        ({"model": "acme/other"}, "argument-invalid"),
    ],
)
def test_a_brake_that_makes_no_sense(press: Any, shop: Workspace, change: dict[str, Any], code: str) -> None:
    """Unknown releases and models, reasons that are prose, shares out of range."""
    press.publish(shop, "1.1.1")
    with pytest.raises(ModelotaError) as caught:
        control(shop, clock=press.clock, passphrases=press.passphrases, **change)
    assert caught.value.code == code


def test_lineage(press: Any, shop: Workspace) -> None:
    """Every release with predecessor, notes, files and withdrawal, from the workspace and from the URL."""
    press.publish(shop, press.describe("1.1.1", provenance={"data": "tales"}, device_models=["hub-3"]))
    press.publish(shop, "1.1.2")
    control(shop, clock=press.clock, passphrases=press.passphrases, withdraw={"1.1.2": "bad"})
    records = history(shop)
    assert history(shop.repository_url, "acme/assistant") == records
    assert [(record.version, record.predecessor, record.withdrawn) for record in records] == [
        ("1.1.1", None, None),
        ("1.1.2", "1.1.1", "bad"),
    ]
    assert records[0].provenance.data == "tales"
    assert records[0].device_models == ("hub-3",)
    assert [file.path for file in records[0].variants[0].files] == ["model.bin"]
    with pytest.raises(RefuseContent) as caught:
        history(shop.repository_url, "acme/other")
    assert caught.value.code == "model-not-in-repository"
    assert audit(shop, clock=press.clock).ok


@pytest.mark.parametrize("role", ROLES)
def test_an_interrupted_rotation_is_repeated(press: Any, shop: Workspace, role: str) -> None:
    """Whichever upload fails, devices go on, and the next attempt succeeds."""
    press.publish(shop, "1.1.1")
    for passage in range(1, 20):
        path = press.directory / f"rotated-{passage}"
        shutil.copytree(shop.path, path)
        copy = Workspace.open(path)
        faults.arm(f"publish.*@{passage}=ENOSPC")
        finished = False
        try:
            rotate_key(copy, role, clock=press.clock, passphrases=press.passphrases)
            finished = True
        except AskPerson as error:
            assert error.code == "no-space"
        finally:
            faults.arm("")
        device = press.device(copy, path.name, anchor=shop.trusted_root())
        assert device.versions() == ["1.1.1"]
        rotate_key(copy, role, clock=press.clock, passphrases=press.passphrases)
        assert device.versions() == ["1.1.1"]
        if finished:
            assert passage >= 2
            return
    pytest.fail("it never finished")
