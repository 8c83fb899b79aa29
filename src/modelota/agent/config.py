"""The integrator's settings: `<root>/config.toml`, strict TOML, read at start (`docs/configuration.md`).

There is no setting that updates without a recorded human decision (clause 5.1-d).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson
from modelota.spec.offer import Condition

_MAX_BYTES = 256 * 1024
SECONDS_MAX: Final = 10 * 366 * 86_400  # ten years: what is added to a date must stay one


class Checks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Periodic checks by the supervisor: seconds between them; 0 means only when asked."""

    every_s: Annotated[int, Meta(ge=0, le=SECONDS_MAX)] = 86_400


class WatchWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long after an update the device may go back by itself, in seconds, and what makes it (requirement 6.3-a).

    It goes back after `crashes` crashes; when the share of failed answers is above `max_error_share` and above twice
    the share of the version before; when it is slower than `min_speed_ratio` of that version, or takes more than
    `max_memory_ratio` of its memory. Shares and speeds count from `min_requests` answers on.
    """

    window_s: Annotated[int, Meta(ge=0, le=SECONDS_MAX)] = 86_400
    crashes: Annotated[int, Meta(ge=1, le=100)] = 3
    max_error_share: Annotated[float, Meta(gt=0, le=1)] = 0.2
    min_requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    min_speed_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.5
    max_memory_ratio: Annotated[float, Meta(ge=1)] = 1.5
    sample_s: Annotated[int, Meta(ge=1, le=3600)] = 60


class GateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an update waits for before it fetches, activates and switches.

    Attributes:
        conditions: of comfort, which every update waits for; a decision may add more.
        window: `HH:MM-HH:MM` local time in which a version may come into use; None: at any time.
        hook: a command asked before each gate, with the step as its last argument: 0 opens, 75 (EX_TEMPFAIL) closes.
        hook_timeout_s: it is stopped after this, and the gate stays closed.
        logind: wait while someone blocks shutdown or sleep (an operating-system update, a presentation).
        poll_s: how often conditions that nobody announces are read while an update waits.
    """

    conditions: tuple[Condition, ...] = ()
    window: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] | None = None
    hook: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    hook_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 10
    logind: bool = True
    poll_s: Annotated[int, Meta(ge=1, le=3600)] = 30


class Keep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many versions older than the previous one are kept, sealed, to go back to without fetching."""

    older_versions: Annotated[int, Meta(ge=0, le=100)] = 1


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How deployed versions lie on the disk: `plain` (an engine maps them) or `sealed` (opened into memory only)."""

    at_rest: Literal["plain", "sealed"] = "plain"


class Scrub(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The background reading of installed versions, which only detects damage: seconds between runs (0: never)."""

    every_s: Annotated[int, Meta(ge=0, le=SECONDS_MAX)] = 7 * 86_400
    bytes_per_s: Annotated[int, Meta(ge=65_536)] = 20_000_000


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the repository is reached.

    Attributes:
        mirrors: further places of the same repository, asked in order when one before fails.
        proxy: an HTTP proxy; None: as the environment says.
        max_bytes_per_s: of a download; 0: as fast as it goes.
    """

    mirrors: Annotated[tuple[Annotated[str, Meta(max_length=2000)], ...], Meta(max_length=16)] = ()
    proxy: Annotated[str, Meta(max_length=2000, pattern="^https?://")] | None = None
    max_bytes_per_s: Annotated[int, Meta(ge=0)] = 0


class Fetching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connections at once, and seconds until a transfer that a passing error stopped is tried again."""

    connections: Annotated[int, Meta(ge=1, le=16)] = 4
    retry_after_s: Annotated[int, Meta(ge=1, le=SECONDS_MAX)] = 60


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The applications' endpoint. `tcp_port` opens it on loopback too (tokens needed); 0 does not."""

    tcp_port: Annotated[int, Meta(ge=0, le=65_535)] = 0


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the agent's socket besides root and the agent's own user: members of `group`.

    They may see; `group_may_decide` lets them answer offers, roll back, pause and cancel too, and
    `group_may_remove` uninstall models.
    """

    group: str = "modelota"
    group_may_decide: bool = True
    group_may_remove: bool = True


class Answers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a user's answer to an offer counts, and when one who answered *later* is reminded (requirement 5.1-d).

    Attributes:
        accept_s: an accepted update that could not begin to fetch within this after its time is offered again.
        skip_s: a skipped version is offered again after this.
        decline_s: a declined offer is made again after this.
        remind_s: seconds from a *later* to the first reminder, from that to the second, and so on; the last one
            repeats. Urgent updates use `remind_urgent_s`.
        remind_urgent_s: the same for updates that their publisher calls urgent.
    """

    accept_s: Annotated[int, Meta(ge=60, le=SECONDS_MAX)] = 7 * 86_400
    skip_s: Annotated[int, Meta(ge=60, le=SECONDS_MAX)] = 180 * 86_400
    decline_s: Annotated[int, Meta(ge=60, le=SECONDS_MAX)] = 30 * 86_400
    remind_s: Annotated[tuple[Annotated[int, Meta(ge=60, le=SECONDS_MAX)], ...], Meta(min_length=1, max_length=16)] = (
        86_400,
        3 * 86_400,
        7 * 86_400,
        14 * 86_400,
    )
    remind_urgent_s: Annotated[
        tuple[Annotated[int, Meta(ge=60, le=SECONDS_MAX)], ...], Meta(min_length=1, max_length=16)
    ] = (4 * 3600, 86_400)


class NotificationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the user hears of what happens (clause 5.1-c), besides the event stream and the journal.

    Attributes:
        desktop: show desktop notifications (freedesktop.org, D-Bus) in the session of the agent's own user.
        terminal: write a line to the terminals of logged-in users who may see (as wall(1) does).
        hook: a command that gets each notice as JSON on standard input, for a host's own screens.
        hook_timeout_s: it is stopped after this.
        quiet: `HH:MM-HH:MM` local time in which only what is urgent is told; the rest follows at its end.
    """

    desktop: bool = False
    terminal: bool = False
    hook: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    hook_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 10
    quiet: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] | None = None


class PageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner's page: whether there is one, its loopback port (0: any), and how long it stays without use."""

    enabled: bool = True
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    idle_s: Annotated[int, Meta(ge=10, le=300)] = 240


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
    gates: GateSettings = GateSettings()
    keep: Keep = Keep()
    storage: StorageSettings = StorageSettings()
    scrub: Scrub = Scrub()
    network: NetworkSettings = NetworkSettings()
    answers: Answers = Answers()
    notifications: NotificationSettings = NotificationSettings()
    page: PageSettings = PageSettings()


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
