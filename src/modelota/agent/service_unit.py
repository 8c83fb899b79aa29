"""The systemd unit that runs an agent: its text, and how words are written in it. Pure.

What each setting is there for, and which are left out and why, is said in `docs/service.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from modelota.errors import AskPerson

Scope = Literal["system", "user"]

WANTED_BY: Final[dict[Scope, str]] = {"system": "multi-user.target", "user": "default.target"}

# What needs neither a namespace nor a right, so that a user's own systemd can do it everywhere.
_EVERYWHERE: Final = """\
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM
"""
_SYSTEM: Final = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp={private_tmp}
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
KeyringMode=private
DevicePolicy=closed
DeviceAllow=char-drm rw
DeviceAllow=char-kfd rw
DeviceAllow=char-nvidia* rw
"""


@dataclass(frozen=True)
class UnitFacts:
    """What a unit is made of.

    Attributes:
        root: of the device.
        command: what runs the agent in the foreground.
        scope: the system's unit, or one of a user's own.
        user: whom the agent runs as; None: whoever's systemd it is.
        group: a group of the system that may use the sockets, if it exists.
        temporary: where the runtime directory lies when it is not below the root.
    """

    root: Path
    command: tuple[str, ...]
    scope: Scope
    user: str | None = None
    group: str | None = None
    temporary: Path | None = None


def word(text: str, *, in_command: bool = False) -> str:
    """One word of a unit file, quoted where it has to be (systemd.syntax(7), systemd.service(5)).

    Raises:
        AskPerson: `argument-invalid`: it has a line break or another control character.
    """
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise AskPerson("argument-invalid", argument=ascii(text)[:200], detail="control-character")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if in_command:
        escaped = escaped.replace("$", "$$")
    return f'"{escaped}"' if escaped != text or any(char in text for char in " ';") else text


def unit_text(facts: UnitFacts) -> str:
    """The whole unit file.

    Raises:
        AskPerson: `argument-invalid`: a path that no unit file can have.
    """
    root = word(str(facts.root))
    lines = [
        "# Written by modelota: “modelota device service remove” takes it away. Change it with “systemctl edit”.",
        "[Unit]",
        f"Description=Model agent of {str(facts.root).replace('%', '%%')}",
        "Documentation=man:systemd.exec(5)",
        f"RequiresMountsFor={root}",
        *(["After=network-online.target", "Wants=network-online.target"] if facts.scope == "system" else []),
        "StartLimitIntervalSec=600",
        "StartLimitBurst=5",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={' '.join(word(part, in_command=True) for part in facts.command)}",
        "Restart=on-failure",
        "RestartSec=5",
        "WatchdogSec=120",
        "TimeoutStopSec=90",
        "KillMode=mixed",  # the agent ends its engines itself, after the answers under way
        "OOMPolicy=continue",  # an engine that the kernel ended is started again by the agent
    ]
    if facts.scope == "system" and facts.user is not None:
        lines.append(f"User={facts.user}")
    if facts.scope == "system" and facts.group is not None:
        lines.append(f"SupplementaryGroups={facts.group}")
    lines += _EVERYWHERE.splitlines()
    if facts.temporary is not None:
        lines.append(f"Environment={word(f'TMPDIR={facts.temporary}')}")
    if facts.scope == "system":
        writable = [facts.root, *([facts.temporary] if facts.temporary is not None else [])]
        text = _SYSTEM.format(
            writable=" ".join(word(str(path)) for path in writable),
            private_tmp="yes" if _has_own_temporary(facts) else "no",
        )
        lines += text.splitlines()
    lines += ["", "[Install]", f"WantedBy={WANTED_BY[facts.scope]}", ""]
    return "\n".join(lines)


def _has_own_temporary(facts: UnitFacts) -> bool:
    """Whether nothing that others look for lies in a temporary directory: the sockets, or the root itself."""
    shared = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  compared, not used
    return facts.temporary is None and not any(place in facts.root.parents for place in shared)
