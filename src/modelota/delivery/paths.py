"""Where things lie in a repository (`docs/formats/metadata.md`). Names only; nothing is touched here.

A name is the same text on a disk, in a bucket and in a request. Everything modelota publishes uses only letters,
digits, `.`, `_`, `-` and `/`, so no percent-encoding takes place that two programs could do differently.
"""

from __future__ import annotations

from typing import Final

METADATA: Final = "metadata"
TARGETS: Final = "targets"
PACKS: Final = "packs"


def metadata_path(role: str, version: int | None) -> str:
    """Path of the metadata of `role`; `version` is None for the timestamp only.

    A `/` in a role's name is a directory: version 3 of `acme/assistant-releases` is
    `metadata/3.acme/assistant-releases.json`. Clients that ask for `3.acme%2Fassistant-releases.json` reach the same
    file, because a static server decodes the request.
    """
    return f"{METADATA}/{role}.json" if version is None else f"{METADATA}/{version}.{role}.json"


def target_path(path: str, digest: str | None) -> str:
    """Path of a TUF target: the digest is prefixed to the last part of its name (TUF specification 6.2).

    `digest` is None only in repositories without consistent snapshots, which modelota does not make.
    """
    parent, slash, name = path.rpartition("/")
    return f"{TARGETS}/{parent}{slash}{name}" if digest is None else f"{TARGETS}/{parent}{slash}{digest}.{name}"


def pack_path(digest: str) -> str:
    """Path of a pack: `packs/<first two digits>/<digest>`."""
    return f"{PACKS}/{digest[:2]}/{digest}"


def releases_role(model: str) -> str:
    """Name of the role that signs catalog and manifests of `model`."""
    return f"{model}-releases"


def control_role(model: str) -> str:
    """Name of the role that signs the control of `model`."""
    return f"{model}-control"


def catalog_target(model: str) -> str:
    """TUF target path of the catalog."""
    return f"{model}/catalog.json"


def control_target(model: str) -> str:
    """TUF target path of the control."""
    return f"{model}/control.json"


def manifest_target(model: str, version: str) -> str:
    """TUF target path of the manifest of one release."""
    return f"{model}/{version}/manifest.json.zst"


def releases_patterns(model: str) -> list[str]:
    """Target paths that `releases_role` may sign; `*` does not match `/` in TUF."""
    return [catalog_target(model), manifest_target(model, "*")]


def control_patterns(model: str) -> list[str]:
    """Target paths that `control_role` may sign."""
    return [control_target(model)]
