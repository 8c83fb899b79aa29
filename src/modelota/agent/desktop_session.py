"""Where the D-Bus session bus of this process's desktop session is."""

from __future__ import annotations

import os
from collections.abc import Mapping


def session_bus(environ: Mapping[str, str]) -> str | None:
    """The address of this session's bus (D-Bus Specification, server addresses), or None: it has none."""
    address = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if address:
        return address
    runtime = environ.get("XDG_RUNTIME_DIR")  # where systemd has it (sd_bus_open_user(3))
    path = os.path.join(runtime, "bus") if runtime else ""  # noqa: PTH118  the text goes into an address
    return f"unix:path={path}" if path and os.path.exists(path) else None  # noqa: PTH110  as above
