"""One owner per root, on a full disk too; directories in shared places; addresses of sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelota.errors import AskPerson, TryLater
from modelota.storage.durable import check_ours
from modelota.storage.layout import SOCKET_PATH_MAX_BYTES, Layout
from modelota.storage.lock import RootLock


def test_a_full_disk_does_not_keep_the_owner_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's number is for people: when it can't be written the lock is held all the same."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = RootLock(tmp_path / "agent.lock")
    with pytest.raises(TryLater) as caught:
        RootLock(tmp_path / "agent.lock")
    assert (caught.value.code, caught.value.params["holder"]) == ("device-busy", None)
    lock.release()
    RootLock(tmp_path / "agent.lock").release()


def test_the_holder_of_before_leaves_no_digits(tmp_path: Path) -> None:
    """A shorter number over a longer one is read as itself."""
    (tmp_path / "agent.lock").write_text("123456789012\n")
    lock = RootLock(tmp_path / "agent.lock")
    with pytest.raises(TryLater) as caught:
        RootLock(tmp_path / "agent.lock")
    assert caught.value.params["holder"] == str(os.getpid())
    lock.release()


def test_a_directory_of_somebody_else_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a directory of another user, and one that others may write to are refused."""
    root = tmp_path / "root"
    for name in ("root", "ours", "open"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("ours")
    check_ours(tmp_path / "ours", root)
    for name in ("open", "link"):
        with pytest.raises(AskPerson, match="root-not-private"):
            check_ours(tmp_path / name, root)
    if os.geteuid() == 0:
        os.chown(tmp_path / "ours", 65534, -1)
        with pytest.raises(AskPerson, match="root-not-private"):
            check_ours(tmp_path / "ours", root)
        os.chown(root, 65534, -1)
        check_ours(tmp_path / "ours", root)


@pytest.mark.parametrize("length", range(60, 90))
def test_every_socket_fits_an_address(length: int) -> None:
    """However long the root's path, engines' sockets fit; a root that is too long has them elsewhere."""
    layout = Layout(Path("/" + "r" * length))
    engine = layout.engine_sockets / f"{'0' * 12}.sock"
    assert len(os.fsencode(engine)) <= SOCKET_PATH_MAX_BYTES
    assert len(os.fsencode(layout.agent_socket)) <= SOCKET_PATH_MAX_BYTES


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines run in directories of their own, so a relative root would mean another place to them."""
    monkeypatch.chdir(tmp_path)
    assert Layout.at(Path("device")).root == tmp_path / "device"
