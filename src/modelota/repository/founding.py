"""Beginnings: a new repository with its workspace, and a new model in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import Key

from modelota.clock import Clock
from modelota.content import wrap
from modelota.delivery import paths
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, TryLater
from modelota.repository import roles
from modelota.repository.commit import Change, Signing, commit, unlock_for
from modelota.repository.enrolment import enrolment_text, new_class_key, reissue_enrolments, write_enrolment
from modelota.repository.keys import KeyRing, key_name, key_paths, make_key, next_name
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import Published, load_published
from modelota.repository.roles import Metadata, Root, Snapshot, Targets, Timestamp
from modelota.repository.workspace import (
    ARCHIVE_NAME,
    CONFIG_NAME,
    PUBLIC_NAME,
    ClassConfig,
    ExpiryDays,
    Kem,
    ModelConfig,
    PublisherConfig,
    Recipient,
    SuiteName,
    Thresholds,
    Workspace,
)
from modelota.spec.catalog import Catalog, Control
from modelota.spec.document import canonical
from modelota.spec.enrolment import ClassKey
from modelota.spec.manifest import Localised
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.ledger import NoLedger

DEFAULT_NAME: Final = "modelota-repo"
DEFAULT_MODEL: Final = "my/model"
DEFAULT_CLASS: Final = "dev"
TRIAL_ENROLMENT_NAME: Final = "enroll.toml"


@dataclass(frozen=True)
class InitReport:
    """What `init` made.

    Attributes:
        workspace: opened.
        repository_url: where the public repository is written.
        url: where devices read it.
        keys: key files.
        archive_key: the private part of the archive recipient: to be taken offline.
        enrolments: one file per device class; with `dev` also `enroll.toml` beside the workspace.
        dev: everything is for trying out.
    """

    workspace: Workspace
    repository_url: str
    url: str
    keys: tuple[Path, ...]
    archive_key: Path
    enrolments: tuple[Path, ...]
    dev: bool


def init(
    path: Path,
    *,
    clock: Clock,
    passphrases: Passphrases,
    models: Sequence[str] = (DEFAULT_MODEL,),
    classes: Sequence[str] = (DEFAULT_CLASS,),
    repository: str = PUBLIC_NAME,
    url: str | None = None,
    thresholds: Thresholds | None = None,
    expiry_days: ExpiryDays | None = None,
    dev: bool = False,
    kem: Kem = "x25519",
    suite: SuiteName = "aes-256-gcm",
    title: Localised | None = None,
    archive_place: str | None = None,
) -> InitReport:
    """Make a workspace at `path`, its keys, and an empty repository.

    Args:
        path: of the workspace; must not exist, or be an empty directory.
        clock: for expiry.
        passphrases: for the new keys; not asked with `dev`.
        models: names of the models.
        classes: names of the device classes.
        repository: where the public repository goes: a path relative to the workspace, or a URL.
        url: where devices read it; None is where it is written.
        thresholds: keys and signatures per kind of role; None is one key each.
        expiry_days: None is the default; for trying out a year for everything.
        dev: keys are not encrypted, for trying out.
        kem: of class keys and archive key.
        suite: packs are sealed with it.
        title: what people call the only model, by language.
        archive_place: where released versions are archived; None: in the workspace, and with `dev` nowhere.

    Raises:
        AskPerson: `repository-exists` (the workspace, the repository, or `enroll.toml`), `argument-invalid`,
            `passphrase-missing`, `permission-denied`, `no-space`.
        TryLater: the store's errors.
    """
    path = path.absolute()
    trial = path.parent / TRIAL_ENROLMENT_NAME
    for existing in (path / CONFIG_NAME, trial) if dev else (path / CONFIG_NAME,):
        if existing.exists():
            raise AskPerson("repository-exists", path=str(existing))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AskPerson("repository-exists", path=str(path))
    class_keys = {name: new_class_key(kem, epoch=1) for name in classes}
    archive_private = wrap.generate_private(kem)
    archive = Recipient(epoch=1, kem=kem, public=wrap.public_of(kem, archive_private))
    year = ExpiryDays(root=3650, targets=365, snapshot=365, timestamp=365, releases=365, control=365)
    place = repository if "://" in repository else (path / repository).resolve().as_uri()
    config = PublisherConfig(
        dev=dev,
        repository=repository,
        url=url or place,
        suite=suite,
        archive=archive,
        archive_place=archive_place or (None if dev else ARCHIVE_NAME),
        expiry_days=expiry_days or (year if dev else ExpiryDays()),
        thresholds=thresholds or Thresholds(),
        models=tuple(ModelConfig(name=model, title=title or {}) for model in models),
        classes=tuple(ClassConfig(name=name, key=public) for name, (_, public) in class_keys.items()),
    )
    _check(config, "init")
    if not models:
        raise AskPerson("argument-invalid", argument="init", detail="at least one model")
    if title and len(models) > 1:
        raise AskPerson("argument-invalid", argument="title", detail="several-models")
    founder = _Founder(Workspace(path, config), None if dev else passphrases, clock)
    founder.make_directories()
    archive_path = founder.make_archive_key(archive_private, archive)
    founder.found()
    keys = {name: (private,) for name, (private, _) in class_keys.items()}
    return founder.finish(archive_path, keys, trial if dev else None)


def add_model(
    workspace: Workspace, model: str, *, clock: Clock, passphrases: Passphrases, title: Localised | None = None
) -> Workspace:
    """Add a model: its two roles with their keys, an empty catalog, a control; and renew the enrolment files.

    Raises:
        AskPerson: `argument-invalid` (the name is malformed or taken), `key-missing`, `passphrase-missing`,
            `key-unlock-failed`.
        TryLater: `publish-conflict`; the store's errors.
        RefuseContent: the repository is damaged or not one.
    """
    entry = ModelConfig(name=model, title=title or {})
    config = msgspec.structs.replace(workspace.config, models=(*workspace.config.models, entry))
    _check(config, "model")
    ring = KeyRing(workspace.key_directories, passphrases)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    signing = Signing(ring, config.expiry_days, clock)
    unlock_for(published, ["targets"], signing)
    founder = _Founder(Workspace(workspace.path, config), None if config.dev else passphrases, clock, ring)
    change = Change()
    if not set(roles.model_roles(model)) & set(published.delegated):  # else an earlier attempt came that far
        founder.add_model(change, published.targets.signed, entry)
        workspace.note_seen(commit(published, change, signing))
    changed = workspace.save(config)
    reissue_enrolments(changed)
    return changed


def _check(config: PublisherConfig, argument: str) -> None:
    """Refuse a configuration that could not be read back."""
    try:
        detail = msgspec.convert(msgspec.to_builtins(config), PublisherConfig).problem()
    except msgspec.ValidationError as error:
        detail = str(error)[:200]
    if detail is not None:
        raise AskPerson("argument-invalid", argument=argument, detail=detail)


class _Founder:
    """Makes keys and first versions of metadata; `passphrases` None is for trying out."""

    def __init__(
        self, workspace: Workspace, passphrases: Passphrases | None, clock: Clock, ring: KeyRing | None = None
    ) -> None:
        self._workspace = workspace
        self._config = workspace.config
        self._passphrases = passphrases
        self._ring = ring or KeyRing((), passphrases or Passphrases(environ={}))
        self._signing = Signing(self._ring, workspace.config.expiry_days, clock)
        self._root_data = b""
        self._snapshot = 0

    def make_directories(self) -> None:
        disk = Disk([self._workspace.path.parent], NoLedger())
        disk.make_directory(self._workspace.path)
        with disk_errors(self._workspace.path):
            self._workspace.path.chmod(0o700)  # it may have been there, empty
        for name in ("keys", "offline", "enrolment"):
            self._workspace.disk.make_directory(self._workspace.path / name)

    def make_archive_key(self, private: bytes, archive: Recipient) -> Path:
        key = make_key(
            "archive-1",
            wrap.ARCHIVE,
            passphrases=self._passphrases,
            algorithm=archive.kem,
            pair=(private, archive.public),
        )
        path = self._workspace.path / "offline" / key.file_name
        self._workspace.disk.write_file(path, key.text().encode())
        return path

    def make_keys(self, role: str) -> list[Key]:
        """Make the keys of a new role, as many as the configuration says."""
        return [
            make_role_key(self._workspace, self._ring, role, self._passphrases)
            for _ in range(self._config.thresholds.of(roles.kind_of(role)).keys)
        ]

    def add_model(self, change: Change, targets: Targets, model: ModelConfig) -> None:
        """Delegate a model and add its first documents to `change`."""
        releases, control = roles.model_roles(model.name)
        keys = {role: self.make_keys(role) for role in (releases, control)}
        roles.delegate(targets, model.name, keys, self._config.thresholds)
        change.roles["targets"] = targets
        catalog = canonical(Catalog(model=model.name, title=model.title, releases=()))
        change.add_document(releases, _unpublished(Targets()), paths.catalog_target(model.name), catalog)
        brake = canonical(Control(model=model.name))
        change.add_document(control, _unpublished(Targets()), paths.control_target(model.name), brake)

    def found(self) -> None:
        """Publish the first root, and everything below it."""
        store = open_store(self._workspace.repository_url, writable=True)
        first = paths.metadata_path("root", 1)
        if store.exists(first):
            raise AskPerson("repository-exists", path=store.address(first))
        keys: dict[str, list[Key]] = {role: self.make_keys(role) for role in roles.TOP_LEVEL}
        root = roles.new_root(keys, self._config.thresholds, dev=self._config.dev)
        targets, change = _unpublished(Targets()), Change()
        for model in self._config.models:
            self.add_model(change, targets, model)
        self._root_data = self._signing.sign(root, "root", self._signing.signers(root, targets, "root"))
        try:
            store.put(first, self._root_data, create_only=True)
        except TryLater as error:
            if error.code == "publish-conflict":
                raise AskPerson("repository-exists", path=store.address(first)) from error
            raise
        nothing = Published(
            store=store,
            root=Metadata[Root](root),
            root_data=self._root_data,
            timestamp=Metadata(Timestamp()),
            snapshot=Metadata(_unpublished(Snapshot(meta={}))),
            targets=Metadata(targets),
            delegated={},
        )
        self._snapshot = commit(nothing, change, self._signing)

    def finish(
        self, archive_path: Path, class_keys: Mapping[str, tuple[ClassKey, ...]], trial: Path | None
    ) -> InitReport:
        """Write what makes the workspace one; `publisher.toml` last."""
        workspace = self._workspace
        workspace.trust_root(self._root_data)
        workspace.note_seen(self._snapshot)
        enrolments = [write_enrolment(workspace, entry, class_keys[entry.name]) for entry in self._config.classes]
        if trial is not None:
            first = self._config.classes[0]
            text = enrolment_text(workspace, first, class_keys[first.name])
            Disk([trial.parent], NoLedger()).write_file(trial, text.encode())
            enrolments.append(trial)
        workspace.save(self._config)
        return InitReport(
            workspace=workspace,
            repository_url=workspace.repository_url,
            url=self._config.url,
            keys=tuple(key_paths([workspace.path / "keys"])),
            archive_key=archive_path,
            enrolments=tuple(enrolments),
            dev=self._config.dev,
        )


def make_role_key(workspace: Workspace, ring: KeyRing, role: str, passphrases: Passphrases | None) -> Key:
    """Make one signing key for `role`, write its file, and take it into `ring`; `None` makes a plain one.

    Raises:
        AskPerson: `passphrase-missing`, `argument-invalid`, `permission-denied`, `no-space`.
    """
    directory = workspace.path / "keys"
    taken = {file.name for file in ring.files.values()} | {key_name(path) for path in key_paths([directory])}
    name = next_name(roles.key_prefix(role), taken.__contains__)
    fresh = Ed25519PrivateKey.generate()
    pair = (fresh.private_bytes_raw(), fresh.public_key().public_bytes_raw())
    key = make_key(name, role, passphrases=passphrases, pair=pair)
    workspace.disk.write_file(directory / key.file_name, key.text().encode())
    return ring.add(key, pair[0])


def _unpublished(signed: roles.S) -> roles.S:
    """Metadata whose first version is still to be made."""
    signed.version = 0
    return signed


__all__ = [
    "DEFAULT_CLASS",
    "DEFAULT_MODEL",
    "DEFAULT_NAME",
    "TRIAL_ENROLMENT_NAME",
    "InitReport",
    "add_model",
    "init",
    "make_role_key",
]
