"""Enrolment: what a device accepts as its beginning, where keys go, who may decide."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from modelota.agent.access import require_right
from modelota.agent.config import Access, Config, read_config
from modelota.agent.enrol import class_keys, enrol, membership_of, open_journal
from modelota.agent.keys import FileKeyStore, KeyringKeyStore, choose_store, keyring_works
from modelota.clock import SystemClock
from modelota.errors import AskPerson, TryLater
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.runtime.messages import PeerCredentials
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.lock import RootLock


@pytest.fixture(scope="module")
def enrolment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("vendor")
    init(place / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    return place / "enroll.toml"


def code(file: Path, root: Path) -> str:
    """The code with which enrolment is refused."""
    with pytest.raises(AskPerson) as caught:
        enrol(file, root, SystemClock())
    return caught.value.code


def test_a_root_is_made_private_and_once(enrolment: Path, tmp_path: Path) -> None:
    """Directory 0700, database and keys 0600; a second enrolment of the same root is refused."""
    root = tmp_path / "deep" / "root"
    enrol(enrolment, root, SystemClock())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (root, root / "agent.db", root / "keys")}
    assert modes == {"root": 0o700, "agent.db": 0o600, "keys": 0o700}
    assert stat.S_IMODE((root / "keys" / "class-keys.json").stat().st_mode) == 0o600
    assert code(enrolment, root) == "already-enrolled"
    layout = Layout(root)
    journal = open_journal(layout, SystemClock())
    membership = membership_of(journal, root)
    keys = class_keys(membership, layout, Disk((root,), NoLedger()))
    journal.close()
    assert [key.epoch for key in keys] == [1]
    assert membership.models == ("my/model",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("format = 1", "format = 2"),
        ("format = 1", "format = 1\nsurprise = true"),
        ("format = 1", "format = "),
        ('"my/model"', '"../escape"'),
        ("epoch = 1", "epoch = 0"),
        ('"x25519"', '"rot13"'),
    ],
)
def test_a_wrong_enrolment_file_changes_nothing(enrolment: Path, tmp_path: Path, old: str, new: str) -> None:
    """Wrong format, unknown field, broken TOML, hostile model name, bad key: refused, and no root is made."""
    text = enrolment.read_text()
    assert old in text
    bad = tmp_path / "bad.toml"
    bad.write_text(text.replace(old, new, 1))
    assert code(bad, tmp_path / "root") == "enrolment-invalid"
    assert not (tmp_path / "root").exists()


def test_files_that_are_no_enrolment(tmp_path: Path) -> None:
    """A missing file, a directory, wrong encoding and endless text are refused."""
    (tmp_path / "latin1").write_bytes('url = "é"'.encode("latin-1"))
    (tmp_path / "huge").write_bytes(b"#" * (2 << 20))
    for name in ("missing", ".", "latin1", "huge"):
        assert code(tmp_path / name, tmp_path / "root") == "enrolment-invalid"


def test_the_anchor_must_be_root_metadata(enrolment: Path, tmp_path: Path) -> None:
    """An anchor that is no root metadata is refused at once."""
    bad = tmp_path / "bad.toml"
    bad.write_text(enrolment.read_text().replace('\\"_type\\":\\"root\\"', '\\"_type\\":\\"targets\\"'))
    assert bad.read_text() != enrolment.read_text()
    assert code(bad, tmp_path / "root") == "root-untrusted"


def test_an_unenrolled_root_is_named(tmp_path: Path) -> None:
    """Opening a directory that was never enrolled says so."""
    with pytest.raises(AskPerson) as caught:
        open_journal(Layout(tmp_path), SystemClock())
    assert caught.value.code == "not-enrolled"


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    """A held lock names its holder; it is free again when the holder lets go."""
    lock = RootLock(tmp_path / "agent.lock")
    with pytest.raises(TryLater) as caught:
        RootLock(tmp_path / "agent.lock")
    assert (caught.value.code, caught.value.params["holder"]) == ("device-busy", str(os.getpid()))
    lock.release()
    RootLock(tmp_path / "agent.lock").release()


class MemoryKeyring(KeyringBackend):
    """A keyring in memory, as good as a system's."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


def test_a_system_keyring_is_preferred(enrolment: Path, tmp_path: Path) -> None:
    """Where there is a keyring the keys lie there and no file holds them."""
    before = keyring.get_keyring()
    memory = MemoryKeyring()
    keyring.set_keyring(memory)
    try:
        assert keyring_works()
        root = tmp_path / "root"
        membership = enrol(enrolment, root, SystemClock())
        assert membership.key_store == "keyring"
        assert not (root / "keys").exists()
        assert len(memory.kept) == 1
        layout, disk = Layout(root), Disk((root,), NoLedger())
        assert class_keys(membership, layout, disk)[0].epoch == 1
        assert isinstance(choose_store("auto", layout, disk), KeyringKeyStore)
        assert isinstance(choose_store("file", layout, disk), FileKeyStore)
    finally:
        keyring.set_keyring(before)


def test_keys_that_others_can_read_are_refused(enrolment: Path, tmp_path: Path) -> None:
    """A key file with wider permissions is not used."""
    root = tmp_path / "root"
    membership = enrol(enrolment, root, SystemClock())
    (root / "keys" / "class-keys.json").chmod(0o644)
    with pytest.raises(AskPerson) as caught:
        class_keys(membership, Layout(root), Disk((root,), NoLedger()))
    assert caught.value.code == "root-not-private"


@pytest.mark.parametrize(
    "text", ["[checks]\nevery = 1", "[updates]\nautomatic = true", "[fetch]\nconnections = 99", "checks = ", "\x00"]
)
def test_settings_are_strict(tmp_path: Path, text: str) -> None:
    """Unknown settings (an automatic update among them), values out of range and broken TOML are refused."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(AskPerson) as caught:
        read_config(path)
    assert caught.value.code == "config-invalid"


def test_no_settings_are_the_defaults(tmp_path: Path) -> None:
    """Without a file the defaults hold."""
    assert read_config(tmp_path / "config.toml") == Config()


def test_who_may_decide() -> None:
    """Root and the agent's own user decide; a stranger and an unknown peer do not."""
    for uid in (0, os.getuid()):
        require_right(PeerCredentials(pid=1, uid=uid, gid=0), Access(), "decide", "x")
    for peer in (None, PeerCredentials(pid=1, uid=54_321, gid=54_321)):
        with pytest.raises(AskPerson) as caught:
            require_right(peer, Access(), "decide", "x")
        assert caught.value.code == "not-authorised"
