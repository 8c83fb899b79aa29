"""What every runtime provides, and the specification an engine is started from (`docs/adding-a-runtime.md`).

A runtime only says how to start a child process; everything else (verification, health, time limits, stopping, reading
its memory) is the same for all of them and lives in `modelota.runtime.engine` and `modelota.runtime.child`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Final, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson
from modelota.spec.limits import FILES_MAX
from modelota.spec.manifest import DigestText
from modelota.telemetry.profile import usable_cores

GROUP: Final = "modelota.runtimes"

# What a runtime can do beyond serving `GET /health` and `POST /v1/chat/completions`.
CHAT: Final = "chat"
STREAM: Final = "stream"  # answers arrive token by token, so the first one can be timed
PERPLEXITY: Final = "perplexity"  # log-probabilities of given tokens can be asked for
EMBEDDINGS: Final = "embeddings"


def default_threads() -> int:
    """Threads that compute: at most 70 % of the usable cores, at least 1. The rest stays with the device's owner."""
    return max(1, int(usable_cores() * 0.7))


class FileStamp(msgspec.Struct, frozen=True, array_like=True):
    """What fstat(2) told about an open file: while all of it is the same, so is the content, as far as a system says.

    A file whose last change lies too close to the moment of its verification gets no stamp: a further change within
    the same tick of the file system's clock would not show.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class EngineFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a slot as the manifest promised it: absolute path, size, BLAKE3 of the whole (plain) file.

    `stamp` is what a verification since this system was started found; a file that still has it is not read again.
    """

    path: str
    size_bytes: Annotated[int, Meta(ge=0)]
    digest: DigestText
    stamp: FileStamp | None = None


class SlotSecret(msgspec.Struct, frozen=True):
    """What a sealed slot's files are opened with. It travels to the child's standard input and nowhere else."""

    value: bytes

    def __repr__(self) -> str:
        return "SlotSecret(…)"


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine is started from. Crosses to the child as JSON, so paths are text.

    Attributes:
        label: name of the slot, for errors: `<version>+<variant>`.
        runtime: entry point in `modelota.runtimes`.
        files: every file of the slot; the child verifies each before any is used.
        entry: absolute path of the file the runtime opens; one of `files`.
        adapters: absolute paths of adapters loaded with it; each one of `files`.
        context_tokens: context to allocate; None leaves it to the runtime.
        threads: threads that compute.
        socket_path: Unix socket the engine serves HTTP on; its directory must be private to this user.
        log_path: what the engine prints goes here; cut at the start and bounded.
        work_dir: the engine's working directory, private to this user; made if missing.
        profile_argv: for the `command` runtime: the command, from the device's configuration, never from a manifest.
        model_alias: the model's name, as the engine reports it to applications.
        user_data_dir: where an engine in use keeps the owner's data, outside every version; None for one that is
            tested, which must not touch them.
        secret: of a slot that lies sealed on the disk: its files are opened into memory only; None when they are
            plain.
    """

    label: str
    runtime: str
    files: Annotated[tuple[EngineFile, ...], Meta(min_length=1, max_length=FILES_MAX)]
    entry: str
    adapters: tuple[str, ...] = ()
    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    threads: Annotated[int, Meta(ge=1)] = msgspec.field(default_factory=default_threads)
    socket_path: str
    log_path: str
    work_dir: str
    profile_argv: tuple[str, ...] = ()
    model_alias: str = "model"
    user_data_dir: str | None = None
    secret: SlotSecret | None = None


@runtime_checkable
class Runtime(Protocol):
    """How to run one kind of engine. Importing it must stay cheap: the supervisor does."""

    name: str

    @property
    def capabilities(self) -> frozenset[str]:
        """What its engines can do: `chat`, `stream`, `perplexity`, `embeddings`."""
        ...

    def version(self) -> str | None:
        """Version of the installed engine, dotted numbers first, or None when it is not installed."""
        ...

    def child_argv(self, spec: EngineSpec) -> list[str]:
        """Command line of the child process that will read `spec` from its standard input.

        Raises:
            AskPerson: `runtime-missing`: something this engine needs is not installed or not configured.
        """
        ...


class BrokenRuntime:
    """Stands for a registered runtime that cannot be imported: it is not installed, and never hides the others."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    @property
    def capabilities(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def version(self) -> None:
        """Return None: not installed."""
        return

    def child_argv(self, spec: EngineSpec) -> list[str]:
        """Refuse.

        Raises:
            AskPerson: `runtime-missing`.
        """
        raise AskPerson("runtime-missing", runtime=spec.runtime, need=self.reason)


@cache
def runtimes() -> Mapping[str, Runtime]:
    """Every registered runtime by its name, read once per process from the entry points `modelota.runtimes`."""
    return {point.name: _load(point) for point in entry_points(group=GROUP)}


def runtime_of(spec: EngineSpec) -> Runtime:
    """The runtime that `spec` names.

    Raises:
        AskPerson: `runtime-missing`.
    """
    found = runtimes().get(spec.runtime)
    if found is None:
        raise AskPerson("runtime-missing", runtime=spec.runtime, need=None)
    return found


def _load(point: EntryPoint) -> Runtime:
    try:
        made = point.load()()
    except (ImportError, AttributeError, TypeError) as error:
        return BrokenRuntime(point.name, type(error).__name__)
    return made if isinstance(made, Runtime) else BrokenRuntime(point.name, "not a Runtime")
