"""The publisher's private workspace: configuration, keys, enrolment files, and what it has seen of its repository.

::

    <workspace>/publisher.toml    strict TOML, see `PublisherConfig`
    <workspace>/root.json         the newest root metadata this workspace trusts
    <workspace>/seen.toml         version floors: an older repository is never built upon
    <workspace>/keys/             key files (`modelota.repository.keys`)
    <workspace>/offline/          keys to be taken away: the private part of the archive recipient
    <workspace>/enrolment/        one enrolment file per device class; they hold the classes' private keys
    <workspace>/staging-*/        packs on their way out
    <workspace>/reports/          test reports (`modelota.repository.trial`)
    <workspace>/cache/            manifests that were read before; may be removed at any time
    <workspace>/archive/          released versions, kept; unless publisher.toml names another place
    <workspace>/public/           the repository, unless publisher.toml names another place

Everything but `public/` is private: directories 0700, files 0600.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from modelota.delivery.stores import ObjectStore, open_store
from modelota.errors import AskPerson
from modelota.repository import toml
from modelota.spec import names
from modelota.spec.limits import MIB, ROOT_MAX_BYTES
from modelota.spec.manifest import Localised, ModelName, Name
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.ledger import NoLedger

CONFIG_NAME: Final = "publisher.toml"
CONFIG_MAX_BYTES: Final = 4 * MIB
PUBLIC_NAME: Final = "public"
ARCHIVE_NAME: Final = "archive"

RoleKind = Literal["root", "targets", "snapshot", "timestamp", "releases", "control"]
ROLE_KINDS: Final[tuple[RoleKind, ...]] = ("root", "targets", "snapshot", "timestamp", "releases", "control")
Kem = Literal["x25519", "mlkem768-x25519"]
SuiteName = Literal["aes-256-gcm", "chacha20-poly1305", "sm4-gcm"]
Days = Annotated[int, Meta(ge=1, le=3650)]


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many keys a role has, and how many of them must sign."""

    need: Annotated[int, Meta(ge=1, le=32)] = 1
    keys: Annotated[int, Meta(ge=1, le=32)] = 1


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds per kind of role, for keys that are made by this workspace."""

    root: Threshold = Threshold()
    targets: Threshold = Threshold()
    snapshot: Threshold = Threshold()
    timestamp: Threshold = Threshold()
    releases: Threshold = Threshold()
    control: Threshold = Threshold()

    def of(self, kind: RoleKind) -> Threshold:
        """The threshold of roles of `kind`."""
        found: Threshold = getattr(self, kind)
        return found


class ExpiryDays(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long metadata is valid from its signing, per kind of role, in days."""

    root: Days = 730
    targets: Days = 365
    snapshot: Days = 30
    timestamp: Days = 14
    releases: Days = 365
    control: Days = 90

    def of(self, kind: RoleKind) -> int:
        """Days of roles of `kind`."""
        found: int = getattr(self, kind)
        return found


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key that pack keys are wrapped to."""

    epoch: Annotated[int, Meta(ge=1)] = 1
    kem: Kem
    public: bytes


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that this workspace publishes."""

    name: ModelName
    title: Localised = msgspec.field(default_factory=dict)


class ClassConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device class.

    Attributes:
        name: of the class.
        models: which models its packages hold; empty means all.
        device_model: written into its enrolment file.
        key: its public key of the current epoch; releases are sealed to no other.
    """

    name: Name
    models: Annotated[tuple[ModelName, ...], Meta(max_length=256)] = ()
    device_model: Annotated[str, Meta(max_length=128)] = ""
    key: Recipient


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that the `command` runtime starts when a release is tested here."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]


class PublisherConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `publisher.toml`.

    Attributes:
        format: 1.
        dev: a workspace for trying out: its keys are not encrypted, and a bare model file may be published.
        repository: where the public repository is written: a path relative to the workspace, an absolute one, or a URL
            of an object store (`s3://…`, `gs://…`, `az://…`).
        url: where devices read it.
        suite: packs are sealed with it.
        key_directories: further places where keys may be found, for example a removable disk; need not exist.
        archive: the offline archive recipient.
        archive_place: where released versions are archived: a path relative to the workspace, an absolute one, or a
            URL of an object store; it is private, and nothing of the public repository. None: nowhere, which is for
            workspaces for trying out only.
        expiry_days: validity of metadata.
        thresholds: for keys made here.
        models: what is published.
        classes: for whom.
        commands: of the `command` runtime on this machine, by the name of the profile that descriptions use.
    """

    format: Literal[1] = 1
    dev: bool = False
    repository: Annotated[str, Meta(min_length=1, max_length=2048)] = PUBLIC_NAME
    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    suite: SuiteName = "aes-256-gcm"
    key_directories: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    archive: Recipient
    archive_place: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    expiry_days: ExpiryDays = ExpiryDays()
    thresholds: Thresholds = Thresholds()
    models: Annotated[tuple[ModelConfig, ...], Meta(max_length=4096)] = ()
    classes: Annotated[tuple[ClassConfig, ...], Meta(min_length=1, max_length=1000)]
    commands: dict[Name, Command] = {}

    def model_names(self) -> tuple[str, ...]:
        """Names of the models, in the order of the file."""
        return tuple(model.name for model in self.models)

    def classes_of(self, model: str) -> tuple[ClassConfig, ...]:
        """The classes that may open packages of `model`."""
        return tuple(entry for entry in self.classes if not entry.models or model in entry.models)

    def problem(self) -> str | None:
        """What is wrong beyond types, or None."""
        models = self.model_names()
        classes = [entry.name for entry in self.classes]
        if not all(names.is_model(model) for model in models) or len(set(models)) != len(models):
            return "models: a name is malformed or repeats"
        if not all(names.is_name(name) for name in classes) or len(set(classes)) != len(classes):
            return "classes: a name is malformed or repeats"
        if "archive" in classes:
            return "classes: `archive` is the name of the archive recipient"
        if any(set(entry.models) - set(models) for entry in self.classes):
            return "classes: a class names a model that is not listed"
        if any(self.thresholds.of(kind).need > self.thresholds.of(kind).keys for kind in ROLE_KINDS):
            return "thresholds: more signatures needed than there are keys"
        return None


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Versions this workspace has seen in its repository; nothing older is built upon."""

    snapshot: Annotated[int, Meta(ge=0)] = 0


@dataclass(frozen=True)
class Workspace:
    """An opened workspace.

    Attributes:
        path: its directory, absolute.
        config: what `publisher.toml` says.
    """

    path: Path
    config: PublisherConfig

    @classmethod
    def open(cls, path: Path) -> Workspace:
        """Open the workspace at `path`.

        Raises:
            AskPerson: `not-a-repository` (no workspace, or what is wrong with its configuration), `permission-denied`.
        """
        path = path.absolute()
        data = _read(path / CONFIG_NAME, CONFIG_MAX_BYTES, path)
        try:
            config = msgspec.convert(tomllib.loads(data.decode()), PublisherConfig)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            detail = f"{CONFIG_NAME}: {str(error)[:300]}"
            raise AskPerson("not-a-repository", path=str(path), detail=detail) from error
        problem = config.problem()
        if problem is not None:
            raise AskPerson("not-a-repository", path=str(path), detail=f"{CONFIG_NAME}: {problem}")
        return cls(path, config)

    @property
    def disk(self) -> Disk:
        """Writes below the workspace."""
        return Disk([self.path], NoLedger())

    @property
    def repository_url(self) -> str:
        """URL of the public repository, as it is written."""
        place = self.config.repository
        return place if "://" in place else (self.path / place).resolve().as_uri()

    @property
    def key_directories(self) -> tuple[Path, ...]:
        """Where key files are looked for, the workspace's own first."""
        return (self.path / "keys", *(self.path / extra for extra in self.config.key_directories))

    def store(self) -> ObjectStore:
        """The public repository, to be written.

        Raises:
            AskPerson: `argument-invalid`, `permission-denied`.
            RefuseContent: `insecure-url`.
        """
        return open_store(self.repository_url, writable=True)

    def save(self, config: PublisherConfig) -> Workspace:
        """Write `config` and return the workspace with it."""
        self.disk.write_file(self.path / CONFIG_NAME, config_text(config).encode())
        return Workspace(self.path, config)

    def require_model(self, model: str | None) -> str:
        """`model` if it is one of this workspace's, or its only one for None.

        Raises:
            AskPerson: `argument-invalid`.
        """
        known = self.config.model_names()
        if model is None and len(known) == 1:
            return known[0]
        if model is None or model not in known:
            detail = f"{model or 'none given'}; known: {', '.join(known) or 'none'}"
            raise AskPerson("argument-invalid", argument="model", detail=detail)
        return model

    def trusted_root(self) -> bytes:
        """The newest root metadata this workspace trusts.

        Raises:
            AskPerson: `not-a-repository`, `permission-denied`.
        """
        return _read(self.path / "root.json", ROOT_MAX_BYTES, self.path)

    def trust_root(self, data: bytes) -> None:
        """Replace the trusted root; the caller has verified the chain to it."""
        self.disk.write_file(self.path / "root.json", data)

    def seen(self) -> Seen:
        """The version floors; zeros before anything was seen.

        Raises:
            AskPerson: `not-a-repository` (the file is damaged), `permission-denied`.
        """
        path = self.path / "seen.toml"
        if not path.exists():
            return Seen()
        try:
            return msgspec.convert(tomllib.loads(_read(path, MIB, self.path).decode()), Seen)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise AskPerson("not-a-repository", path=str(path), detail=str(error)[:200]) from error

    def note_seen(self, snapshot: int) -> None:
        """Raise the floor to `snapshot`; it never falls."""
        if snapshot > self.seen().snapshot:
            text = "# Versions this workspace has seen in its repository. Nothing older is built upon.\n"
            text += toml.render(msgspec.to_builtins(Seen(snapshot=snapshot)))
            self.disk.write_file(self.path / "seen.toml", text.encode())

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A directory of its own for packs on their way out, removed afterwards."""
        with disk_errors(self.path):
            directory = tempfile.TemporaryDirectory(prefix="staging-", dir=self.path, ignore_cleanup_errors=True)
        with directory as name:
            yield Path(name)


def config_text(config: PublisherConfig) -> str:
    """`publisher.toml` for `config`."""
    head = "# modelota publisher workspace; keep this directory private (docs/formats/release-description.md).\n"
    if config.dev:
        head += "# FOR TRYING OUT ONLY: the keys of this workspace are not encrypted.\n"
    return head + toml.render(msgspec.to_builtins(config))


def _read(path: Path, limit_bytes: int, workspace: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except PermissionError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    except OSError as error:
        detail = f"{path.name}: {error.strerror}"
        raise AskPerson("not-a-repository", path=str(workspace), detail=detail) from error
    if len(data) > limit_bytes:
        raise AskPerson("not-a-repository", path=str(workspace), detail=f"{path.name}: larger than {limit_bytes} bytes")
    return data
