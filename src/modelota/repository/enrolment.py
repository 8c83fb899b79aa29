"""Enrolment files of device classes; the workspace's copies are the one place that holds the classes' private keys."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelota.content import wrap
from modelota.errors import AskPerson
from modelota.repository import toml
from modelota.repository.workspace import ClassConfig, Kem, Recipient, Workspace
from modelota.spec import names
from modelota.spec.enrolment import ClassKey, Enrolment, parse_enrolment
from modelota.spec.limits import ENROLMENT_MAX_BYTES

_HEAD = """\
# modelota enrolment file of device class {name}. It holds the private key of the class: whoever has it can open every
# package made for the class. Bring it to devices by a trusted way and keep it off networks (docs/formats/enrolment.md).
"""


def enrolment_path(workspace: Workspace, name: str) -> Path:
    """Where the enrolment file of class `name` lies."""
    return workspace.path / "enrolment" / f"{name}.toml"


def new_class_key(kem: Kem, epoch: int) -> tuple[ClassKey, Recipient]:
    """A fresh key pair of a class: the private part for devices, the public part for publishing."""
    private = wrap.generate_private(kem)
    public = wrap.public_of(kem, private)
    return ClassKey(epoch=epoch, kem=kem, private=private), Recipient(epoch=epoch, kem=kem, public=public)


def write_enrolment(workspace: Workspace, entry: ClassConfig, keys: tuple[ClassKey, ...]) -> Path:
    """Write the enrolment file of a class, readable by its owner only, with the newest trusted root.

    Raises:
        AskPerson: `enrolment-invalid` (the workspace has no models yet), `no-space`, `permission-denied`.
        TryLater: `disk-error`.
    """
    path = enrolment_path(workspace, entry.name)
    workspace.disk.write_file(path, enrolment_text(workspace, entry, keys).encode())
    return path


def enrolment_text(workspace: Workspace, entry: ClassConfig, keys: tuple[ClassKey, ...]) -> str:
    """The text of the enrolment file of a class.

    Raises:
        AskPerson: `enrolment-invalid`: the class has no model.
    """
    enrolment = Enrolment(
        format=1,
        url=workspace.config.url,
        models=entry.models or workspace.config.model_names(),
        device_class=entry.name,
        device_model=entry.device_model,
        keys=keys,
        root=workspace.trusted_root().decode(),
    )
    text = _HEAD.format(name=entry.name) + toml.render(msgspec.to_builtins(enrolment))
    parse_enrolment(text.encode(), str(enrolment_path(workspace, entry.name)))
    return text


def read_enrolment(workspace: Workspace, name: str) -> Enrolment:
    """The enrolment file of class `name`.

    Raises:
        AskPerson: `enrolment-invalid` (missing, or not an enrolment file), `permission-denied`.
    """
    path = enrolment_path(workspace, name)
    try:
        with path.open("rb") as file:
            data = file.read(ENROLMENT_MAX_BYTES + 1)
    except PermissionError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    except OSError as error:
        raise AskPerson("enrolment-invalid", path=str(path), detail=error.strerror or "unreadable") from error
    return parse_enrolment(data, str(path))


def reissue_enrolments(workspace: Workspace) -> tuple[Path, ...]:
    """Write all enrolment files anew after models or root changed; a class whose file was taken away is left out.

    Raises:
        AskPerson: `enrolment-invalid`, `permission-denied`, `no-space`.
    """
    written = []
    for entry in workspace.config.classes:
        if enrolment_path(workspace, entry.name).exists():
            keys = read_enrolment(workspace, entry.name).keys
            written.append(write_enrolment(workspace, entry, keys))
    return tuple(written)


def add_class(
    workspace: Workspace, name: str, *, kem: Kem = "x25519", models: tuple[str, ...] = (), device_model: str = ""
) -> tuple[Workspace, Path]:
    """Add a device class. Releases from now on are sealed for it too; those published before it cannot open.

    Returns:
        The changed workspace, and the path of the class's enrolment file.

    Raises:
        AskPerson: `argument-invalid` (the name is malformed, taken, or reserved; an unknown model).
    """
    if not names.is_name(name) or name in {wrap.ARCHIVE, *(entry.name for entry in workspace.config.classes)}:
        raise AskPerson("argument-invalid", argument="class", detail=f"{name[:80]!r} is malformed, reserved or taken")
    for model in models:
        workspace.require_model(model)
    private, public = new_class_key(kem, epoch=1)
    entry = ClassConfig(name=name, models=models, device_model=device_model, key=public)
    # the private key first: a class in the configuration whose key is lost could never be opened
    path = write_enrolment(workspace, entry, (private,))
    config = msgspec.structs.replace(workspace.config, classes=(*workspace.config.classes, entry))
    return workspace.save(config), path


def renew_class_key(workspace: Workspace, name: str, *, kem: Kem | None = None) -> tuple[Workspace, Path]:
    """Begin a new epoch of a class: the old key was extracted somewhere. Releases from now on use the new one only.

    Devices get the new enrolment file by hand, never through the repository.

    Raises:
        AskPerson: `argument-invalid` (no such class), `enrolment-invalid`.
    """
    entry = next((entry for entry in workspace.config.classes if entry.name == name), None)
    if entry is None:
        raise AskPerson("argument-invalid", argument="class", detail=f"{name[:80]!r} is unknown")
    private, public = new_class_key(kem or entry.key.kem, epoch=entry.key.epoch + 1)
    renewed = msgspec.structs.replace(entry, key=public)
    # a renewal that was interrupted left a key of this epoch that nothing was sealed for
    kept = tuple(key for key in read_enrolment(workspace, name).keys if key.epoch <= entry.key.epoch)
    path = write_enrolment(workspace, renewed, (*kept, private))
    classes = tuple(renewed if other.name == name else other for other in workspace.config.classes)
    return workspace.save(msgspec.structs.replace(workspace.config, classes=classes)), path
