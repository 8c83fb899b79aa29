"""Whose process is at the other end of a TCP connection of this machine, as the kernel's socket table says (Linux).

`/proc/net/tcp` and `/proc/net/tcp6` list every TCP socket of the network namespace with its owner (proc_pid_net(5)),
so the other end of a loopback connection is in there as well. Other systems have no such table, and nobody can tell.
"""

from __future__ import annotations

import ipaddress
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelota.errors import AskPerson

Address = tuple[str, int]
PeerReader = Callable[[Address, Address], int | None]

TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LOOKS: Final = 3  # the kernel may leave a row out while others of its hash bucket come and go
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns


def peer_uid(client: Address, server: Address, tables: tuple[Path, ...] = TABLES) -> int | None:
    """The user whose process holds the client's end of a connection.

    A socket that its process has closed stands in the table as root's: it counts as nobody's, or whoever sends a
    request and hangs up at once would be taken for root.

    Args:
        client: address and port of the end that connected.
        server: of the end that accepted.
        tables: where the kernel tells.

    Returns:
        the user id; None where this system does not tell.

    Raises:
        AskPerson: `page-request-refused` (`peer-gone`): the client has hung up, so nobody can say who it was.
    """
    wanted = frozenset(zip(_spellings(client), _spellings(server), strict=True))
    for _ in range(_LOOKS):
        texts = [text for table in tables if (text := _read(table)) is not None]
        if not texts:
            return None
        for line in itertools.chain.from_iterable(text.splitlines()[1:] for text in texts):
            columns = line.split()
            if (columns[_LOCAL], columns[_REMOTE]) in wanted and columns[_INODE] != "0":
                return int(columns[_UID])
    raise AskPerson("page-request-refused", detail="peer-gone")


def _read(table: Path) -> str | None:
    try:
        return table.read_text(encoding="ascii")
    except OSError:
        return None


def _spellings(address: Address) -> tuple[str, str]:
    """The address as either table spells it: in IPv4, and mapped into IPv6 (RFC 4291, 2.5.5.2)."""
    host, port = ipaddress.IPv4Address(address[0]), address[1]
    mapped = ipaddress.IPv6Address(f"::ffff:{host}")
    return f"{_words(host.packed)}:{port:04X}", f"{_words(mapped.packed)}:{port:04X}"


def _words(packed: bytes) -> str:
    """Hexadecimal digits of 32-bit words as the kernel prints them: each in the byte order of this machine."""
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join((word[::-1] if sys.byteorder == "little" else word).hex().upper() for word in words)
