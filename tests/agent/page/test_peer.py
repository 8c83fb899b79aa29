"""Whose process is at the other end of a connection, by the kernel's own table."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.agent.page.peer import peer_uid
from modelota.errors import AskPerson

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# Becoming another user after the interpreter started: it may lie where that user may not even look.
CONNECT = """
import os, socket, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
end = socket.socket()
end.connect(("127.0.0.1", int(sys.argv[1])))
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


def row(local: str, remote: str, uid: int, inode: int) -> str:
    return f"   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 {inode} 1 0000000000000000\n"


def table(place: Path, *rows: str) -> tuple[Path, ...]:
    path = place / "tcp"
    path.write_text(HEAD + "".join(rows), encoding="ascii")
    return (path,)


def refusal(client: tuple[str, int], server: tuple[str, int], tables: tuple[Path, ...] | None = None) -> object:
    with pytest.raises(AskPerson) as caught:
        peer_uid(client, server) if tables is None else peer_uid(client, server, tables)
    return caught.value.params["detail"]


@pytest.mark.skipif(sys.platform != "linux", reason="the table is Linux's")
def test_our_own_connection_is_ours(listener: socket.socket) -> None:
    """Over IPv4, and over a socket of IPv6 that reaches the same port."""
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as accepted:
        assert peer_uid(client.getsockname(), accepted.getsockname()) == os.getuid()
    if not socket.has_ipv6:
        return
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        with listener.accept()[0] as accepted:
            assert peer_uid(accepted.getpeername(), accepted.getsockname()) == os.getuid()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_another_users_connection_is_theirs(listener: socket.socket) -> None:
    """What the kernel says of a process that really runs as another user."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", CONNECT, str(listener.getsockname()[1])], stdin=subprocess.PIPE
    ) as child:
        accepted, client = listener.accept()
        with accepted:
            assert peer_uid(client, accepted.getsockname()) == 65534
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
            # It has hung up: the kernel's row, if there still is one, is nobody's and stands as root's.
            assert refusal(client, accepted.getsockname()) == "peer-gone"


def test_a_closed_socket_is_not_roots(tmp_path: Path) -> None:
    """A socket without an inode belongs to no process; its row says user 0, whoever had it."""
    rows = (row("0100007F:9C40", "0100007F:1FBB", 0, 0), row("0100007F:1FBB", "0100007F:9C40", 1000, 77))
    assert refusal(("127.0.0.1", 40000), ("127.0.0.1", 8123), table(tmp_path, *rows)) == "peer-gone"


@pytest.mark.skipif(sys.byteorder != "little", reason="the rows are written in this byte order")
def test_only_the_very_connection_counts(tmp_path: Path) -> None:
    """Neither the other direction, nor another port, nor another address."""
    tables = table(
        tmp_path,
        row("0100007F:1FBB", "0100007F:9C40", 1, 5),
        row("0100007F:9C41", "0100007F:1FBB", 2, 5),
        row("0200007F:9C40", "0100007F:1FBB", 3, 5),
        row("0100007F:9C40", "0100007F:1FBB", 1000, 5),
    )
    assert peer_uid(("127.0.0.1", 40000), ("127.0.0.1", 8123), tables) == 1000
    mapped = table(
        tmp_path, row("0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:1FBB", 7, 5)
    )
    assert peer_uid(("127.0.0.1", 40000), ("127.0.0.1", 8123), mapped) == 7


@pytest.mark.skipif(sys.byteorder != "little", reason="the rows are written in this byte order")
def test_a_row_that_the_kernel_left_out_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists sockets while they come and go: one look may miss one that is there all the time."""
    told = iter([HEAD, HEAD, HEAD + row("0100007F:9C40", "0100007F:1FBB", 1000, 5)])
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: next(told))
    assert peer_uid(("127.0.0.1", 40000), ("127.0.0.1", 8123), (tmp_path / "tcp",)) == 1000


def test_a_system_without_the_table_does_not_tell(tmp_path: Path) -> None:
    """Then the link and the cookie alone have to do, which the documentation says."""
    assert peer_uid(("127.0.0.1", 40000), ("127.0.0.1", 8123), (tmp_path / "none",)) is None
