"""The integrator's settings: `<root>/config.toml`, strict TOML, read at start (`docs/configuration.md`).

There is no setting that updates without a recorded human decision (clause 5.1-d).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson

_MAX_BYTES = 256 * 1024
SECONDS_MAX: Final = 10 * 366 * 86_400  # ten years: what is added to a date must stay one


class Checks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Periodic checks by the supervisor: seconds between them; 0 means only when asked."""

    every_s: Annotated[int, Meta(ge=0, le=SECONDS_MAX)] = 86_400


class WatchWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long after an update the device may go back by itself, in seconds."""

    window_s: Annotated[int, Meta(ge=0, le=SECONDS_MAX)] = 86_400


class Fetching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connections at once, and seconds until a transfer that a passing error stopped is tried again."""

    connections: Annotated[int, Meta(ge=1, le=16)] = 4
    retry_after_s: Annotated[int, Meta(ge=1, le=SECONDS_MAX)] = 60


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The applications' endpoint. `tcp_port` opens it on loopback too (tokens needed); 0 does not."""

    tcp_port: Annotated[int, Meta(ge=0, le=65_535)] = 0


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the agent's socket besides root and the agent's own user: members of `group`.

    They may see; `group_may_decide` lets them answer offers, roll back, pause and cancel too.
    """

    group: str = "modelota"
    group_may_decide: bool = True


class CommandProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that the `command` runtime may start; a manifest names the profile, never a command line."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]


class Engines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How engines are run: seconds until a start counts as failed, and the device's command profiles."""

    start_timeout_s: Annotated[int, Meta(ge=1, le=SECONDS_MAX)] = 300
    commands: dict[str, CommandProfile] = {}


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the class keys are kept: `auto` prefers a system keyring, `file` and `keyring` force one."""

    store: Annotated[str, Meta(pattern="^(auto|file|keyring)$")] = "auto"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings."""

    checks: Checks = Checks()
    watch: WatchWindow = WatchWindow()
    fetch: Fetching = Fetching()
    gateway: GatewaySettings = GatewaySettings()
    access: Access = Access()
    engines: Engines = Engines()
    keys: Keys = Keys()


def read_config(path: Path) -> Config:
    """Read the settings; a missing file means the defaults.

    Raises:
        AskPerson: `config-invalid` with what is wrong, `permission-denied`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    if len(data) > _MAX_BYTES:
        raise AskPerson("config-invalid", path=str(path), detail=f"larger than {_MAX_BYTES} bytes")
    try:
        return msgspec.convert(tomllib.loads(data.decode()), Config)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise AskPerson("config-invalid", path=str(path), detail=str(error)[:300]) from error
