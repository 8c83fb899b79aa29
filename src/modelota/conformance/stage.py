"""The prepared scenario: disposable places, two publishers, devices; each chapter of the story is told once.

Checks ask for chapters; a chapter asks for the ones before it. Only what the chosen rows need is played.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar, cast

from modelota.conformance import readonly
from modelota.conformance.commands import Cli
from modelota.conformance.device import Device, settings
from modelota.conformance.publisher import Publisher
from modelota.conformance.releases import Family, find_family, standin

T = TypeVar("T")

LARGE: Final = "conf/large"
STEPS: Final = "conf/steps"
CANNOT_RUN: Final = "conf/cannot-run"
VERSIONS: Final = "conf/versions"
RELATED: Final = "conf/related"
WATCHED: Final = "conf/watched"
KEPT: Final = "conf/kept"
SEALED: Final = "conf/sealed"
USER_DATA: Final = "conf/user-data"
LEAVING: Final = "conf/leaving"
OWNER: Final = "conf/owner"
CHANGES: Final = "conf/changes"
LARGE_BYTES: Final = 24 << 20
STEP_BALLAST_BYTES: Final = 256 << 10

# What a release demands, one thing too much each; the requirement that the refusal has to name. No device meets them.
EXCESSIVE: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "conf/cores": ("cores", {"compute": {"cores": 1_000_000}}),
    "conf/features": ("cpu-features", {"compute": {"features": ["feature-of-no-processor"]}}),
    "conf/architecture": ("architecture", {"compute": {"architectures": ["pdp11"]}}),
    "conf/compute": ("compute-gops", {"compute": {"min_gops": 1e8}}),
    "conf/memory-speed": ("compute-memory-gb-s", {"compute": {"min_memory_gb_s": 1e8}}),
    "conf/memory": ("memory", {"memory_bytes": 1 << 55}),
    "conf/storage": ("storage", {"storage_bytes": 1 << 60}),
    "conf/os": ("os", {"os": [{"family": "linux", "min_version": "9999.1"}]}),
    "conf/os-family": ("os", {"os": [{"family": "os-of-nobody"}]}),
    "conf/agent": ("agent", {"agent_min_version": "9999.1.1"}),
}
_LONG_TEMPORARY_PATH: Final = 40  # a socket's address has to fit below it


class Stage:
    """The scenario of one run; use as a context manager, which removes everything afterwards.

    Args:
        model: a GGUF file or a directory with releases; None is the example family.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = model
        self._told: dict[str, Any] = {}
        self._exit = contextlib.ExitStack()
        # A device's sockets lie in its root only where the path is short enough for a socket's address.
        usual = Path(tempfile.gettempdir())
        short = Path("/tmp")  # noqa: S108  mkdtemp makes a private directory there
        base = short if len(str(usual)) > _LONG_TEMPORARY_PATH and short.is_dir() else usual
        self.place: Final = Path(tempfile.mkdtemp(prefix="modelota-", dir=base)).resolve()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, _end_in_order)
            self._exit.callback(signal.signal, signal.SIGTERM, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._exit.close()
        finally:
            _remove(self.place)

    def chapter(self, tell: Callable[[Stage], T]) -> T:
        """Play a chapter, or recall it; one that did not come to its end stays so.

        Raises:
            Unreached: the product did not go along.
            Unmeasurable: this machine or target lacks what it needs.
        """
        if tell.__name__ not in self._told:
            try:
                self._told[tell.__name__] = tell(self)
            except Exception as error:
                self._told[tell.__name__] = error
                raise
        told = self._told[tell.__name__]
        if isinstance(told, Exception):
            raise told
        return cast("T", told)

    # -- actors -------------------------------------------------------------------------------------------------------

    @cached_property
    def cli(self) -> Cli:
        """The command line, with a home of its own."""
        return Cli(self.place / "home")

    @cached_property
    def scratch(self) -> Path:
        """Where the room makes files of its own."""
        path = self.place / "scratch"
        path.mkdir()
        return path

    @cached_property
    def family(self) -> Family:
        """The model under test."""
        return find_family(self._model, self.scratch / "family")

    @property
    def publisher(self) -> Publisher:
        """Publishes the model under test."""
        return self.chapter(_found_publisher)

    @property
    def workshop(self) -> Publisher:
        """Publishes the small releases on the stand-in engine."""
        return self.chapter(_found_workshop)

    @property
    def parcels(self) -> Publisher:
        """Publishes a line of releases with every kind of package, of the model under test and of a stand-in."""
        return self.chapter(_found_parcels)

    def found(self, name: str, models: Sequence[str], *, passphrase: str | None = None) -> Publisher:
        """Make a repository that lasts as long as the stage; with a passphrase it is not one for trying out."""
        return self._exit.enter_context(Publisher(self._folder(name), self.cli, models, passphrase=passphrase))

    @property
    def strict(self) -> Publisher:
        """Publishes the model under test with keys that are encrypted, as a publisher who means it."""
        return self.chapter(_found_strict)

    @cached_property
    def sandbox(self) -> tuple[str, ...]:
        """What makes everything outside the main device's root read-only; empty where that is not possible."""
        probe = self._folder("sandbox-probe")
        return tuple(readonly.prefix_for(probe) or ())

    @cached_property
    def main_device(self) -> Device:
        """The device that lives through install, update, a bad release and the way back."""
        root = self.place / "a"
        sandbox = (*self.sandbox[:-1], str(root)) if self.sandbox else ()
        return self.device("a", self.publisher, self.family.model, sandbox=sandbox)

    def device(
        self,
        name: str,
        publisher: Publisher,
        model: str,
        *,
        connections: int = 1,
        checks_every_s: int = 0,
        sandbox: tuple[str, ...] = (),
        config: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Device:
        """A new device, enrolled; whoever asked starts it, and it is stopped at the end in any case.

        `config` holds further tables of its settings.
        """
        tables = settings(connections=connections, checks_every_s=checks_every_s) | dict(config or {})
        device = Device(self.place / name, self.cli, model, tables, sandbox=sandbox)
        self._exit.callback(device.stop)
        words = ("device", "init", str(publisher.enrolment), "--root", str(device.root), "--json")
        self.cli.must(*words)
        return device

    def step(self, version: str) -> dict[str, Any]:
        """A small release of the model on which failures are tried."""
        return standin(self.scratch, STEPS, version, ballast_bytes=STEP_BALLAST_BYTES, related=True)

    def _folder(self, name: str) -> Path:
        path = self.place / name
        path.mkdir()
        return path


def _found_publisher(stage: Stage) -> Publisher:
    return stage.found("p", [stage.family.model])


def _found_workshop(stage: Stage) -> Publisher:
    models = (LARGE, STEPS, CANNOT_RUN, VERSIONS, WATCHED, KEPT, SEALED, USER_DATA, LEAVING, OWNER, CHANGES)
    return stage.found("w", [*models, *EXCESSIVE])


def _found_strict(stage: Stage) -> Publisher:
    passphrase = "of a conformance check"  # noqa: S105  of keys that last as long as it does
    return stage.found("keys", [stage.family.model], passphrase=passphrase)


def _found_parcels(stage: Stage) -> Publisher:
    return stage.found("e", [stage.family.model, RELATED])


def _end_in_order(number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the run the way Ctrl-C does, so that no agent and no file of it stays behind."""
    sys.exit(128 + number)


def _remove(place: Path) -> None:
    """Remove the disposable root; installed slots are read-only, so their modes go first."""
    for path in (place, *place.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(place)
