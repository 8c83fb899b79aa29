"""How a repository is: what expires when, what is published, whether it is for trying out. For people and for cron."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelota.clock import Clock
from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.delivery.stores import open_store
from modelota.errors import ModelotaError, RefuseContent, TryLater
from modelota.repository import roles
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import Published, load_published
from modelota.repository.workspace import Workspace
from modelota.spec.limits import ROOT_MAX_BYTES


@dataclass(frozen=True)
class RoleStatus:
    """One role.

    Attributes:
        role: its name.
        version: of its newest metadata.
        expires_at: aware UTC.
        failing: it has expired, or does within the time that was asked about.
        need: how many keys must sign.
        keys: how many keys it has.
        at_hand: how many of them have their file in the workspace; None without a workspace.
    """

    role: str
    version: int
    expires_at: datetime
    failing: bool
    need: int
    keys: int
    at_hand: int | None


@dataclass(frozen=True)
class PublishedModel:
    """One model: admitted versions, oldest first; those withdrawn; whether offers are paused."""

    model: str
    releases: tuple[str, ...]
    withdrawn: tuple[str, ...]
    paused: bool


@dataclass(frozen=True)
class RepositoryStatus:
    """State of a repository.

    Attributes:
        url: what was looked at.
        dev: it says of itself that it is for trying out.
        plain_keys: the workspace holds keys that are not encrypted; None without a workspace.
        roles: root, targets, snapshot, timestamp, then the models' roles.
        models: what is published.
        lags: a committed snapshot waits for its timestamp; the next publish or refresh moves it.
    """

    url: str
    dev: bool
    plain_keys: bool | None
    roles: tuple[RoleStatus, ...]
    models: tuple[PublishedModel, ...]
    lags: bool

    @property
    def failing(self) -> tuple[RoleStatus, ...]:
        """Roles that have expired or will soon: what a cron job has to fail for."""
        return tuple(role for role in self.roles if role.failing)


def status(
    where: Workspace | str, *, fail_within: timedelta, clock: Clock, root: bytes | None = None
) -> RepositoryStatus:
    """Look at a repository.

    Args:
        where: a workspace, or the URL of a public repository.
        fail_within: roles that expire within this time are marked as failing.
        clock: what time it is.
        root: trusted root metadata; None is the workspace's, or for a URL the repository's own first root, which then
            vouches for itself only.

    Raises:
        RefuseContent: the repository is damaged or not one.
        AskPerson: `not-a-repository`, `argument-invalid`, `permission-denied`.
        TryLater: the store's errors.
    """
    if isinstance(where, Workspace):
        store = open_store(where.repository_url)
        published = load_published(store, root or where.trusted_root(), floor=where.seen().snapshot)
        ring: KeyRing | None = KeyRing(where.key_directories, Passphrases(environ={}))
    else:
        store = open_store(where)
        published = load_published(store, root or first_root(store))
        ring = None
    due = clock.now() + fail_within
    return RepositoryStatus(
        url=store.url,
        dev=roles.is_dev(published.root.signed),
        plain_keys=any(key.is_dev for key in ring.files.values()) if ring is not None else None,
        roles=tuple(_role_status(published, role, due, ring) for role in (*roles.TOP_LEVEL, *published.delegated)),
        models=tuple(_published_model(published, model) for model in published.models()),
        lags=published.lags,
    )


def first_root(store: ObjectStore) -> bytes:
    """The repository's own first root; trusting it means trusting whoever serves it.

    Raises:
        RefuseContent: `repository-not-found`.
        TryLater: the store's errors.
    """
    try:
        return store.get(paths.metadata_path("root", 1), ROOT_MAX_BYTES)
    except ModelotaError as error:
        if isinstance(error, TryLater) and error.code == "object-missing":
            raise RefuseContent("repository-not-found", url=store.url) from error
        raise


def _role_status(published: Published, role: str, due: datetime, ring: KeyRing | None) -> RoleStatus:
    top_level = {
        "root": published.root.signed,
        "targets": published.targets.signed,
        "snapshot": published.snapshot.signed,
        "timestamp": published.timestamp.signed,
    }
    signed = top_level[role] if role in top_level else published.delegated[role].signed
    delegator = published.root.signed if role in top_level else published.targets.signed
    keyids, need = roles.keys_of(delegator, role)
    return RoleStatus(
        role=role,
        version=signed.version,
        expires_at=signed.expires,
        failing=signed.expires <= due,
        need=need,
        keys=len(keyids),
        at_hand=ring.have(keyids) if ring is not None else None,
    )


def _published_model(published: Published, model: str) -> PublishedModel:
    catalog, control = published.catalog(model), published.control(model)
    return PublishedModel(
        model=model,
        releases=tuple(release.version for release in catalog.releases),
        withdrawn=tuple(entry.version for entry in control.withdrawn),
        paused=control.paused,
    )
