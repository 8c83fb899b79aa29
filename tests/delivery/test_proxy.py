"""A configured HTTP proxy carries what goes to other machines, and nothing that stays on this one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.delivery.stores import open_store
from modelota.errors import TryLater
from modelota.testing.network import InstrumentedServer


class Proxy:
    """A proxy that notes which hosts it is asked to connect to, and refuses them all (RFC 9110, 9.3.6)."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self) -> None:
        """Stop."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy on loopback."""
    proxy = Proxy()
    yield proxy
    proxy.close()


def test_another_machine_is_reached_through_the_proxy(proxy: Proxy) -> None:
    """The name goes to the proxy unresolved, and the proxy's refusal is an error that may pass."""
    store = open_store("https://repository.example/models", proxy=proxy.url)
    with pytest.raises(TryLater):
        store.get("metadata/timestamp.json", 1000)
    assert proxy.asked
    assert all(line.startswith("CONNECT repository.example:443 ") for line in proxy.asked)


def test_this_machine_is_not(proxy: Proxy, tmp_path: Path) -> None:
    """Plain http to loopback never passes a proxy."""
    (tmp_path / "object").write_bytes(b"here")
    with InstrumentedServer(tmp_path) as server:
        assert open_store(server.url, proxy=proxy.url).get("object", 10) == b"here"
    assert proxy.asked == []
