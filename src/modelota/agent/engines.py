"""From a slot to the specification of its engine."""

from __future__ import annotations

import hashlib

from modelota.agent.config import Config
from modelota.errors import AskPerson
from modelota.runtime.protocol import EngineFile, EngineSpec
from modelota.spec.slot import SlotDescription
from modelota.storage.layout import Layout


def engine_spec(layout: Layout, config: Config, slot: SlotDescription, *, purpose: str) -> EngineSpec:
    """What to start an engine of `slot` from.

    Args:
        layout: of the device root.
        config: the integrator's settings (command profiles).
        slot: an installed slot.
        purpose: `serve`, `test`, `compare`, …: engines of one slot for different purposes have their own sockets and
            logs, so that they can run beside each other.

    Raises:
        AskPerson: `runtime-missing`: the slot needs a command profile that this device does not have.
    """
    directory = layout.model(slot.model).slot(slot.slot.name)
    files = directory / "files"
    profile: tuple[str, ...] = ()
    if slot.runtime.profile is not None:
        known = config.engines.commands.get(slot.runtime.profile)
        if known is None:
            raise AskPerson("runtime-missing", runtime=slot.runtime.name, need=slot.runtime.profile)
        profile = known.argv
    # a hash keeps the socket's address short whatever model and version are called
    name = hashlib.sha256(f"{slot.model} {slot.slot.name} {purpose}".encode()).hexdigest()[:12]
    return EngineSpec(
        label=slot.slot.name,
        runtime=slot.runtime.name,
        files=tuple(
            EngineFile(path=str(files / file.path), size_bytes=file.size_bytes, digest=file.digest)
            for file in slot.files
        ),
        entry=str(files / slot.runtime.entry),
        adapters=tuple(str(files / adapter) for adapter in slot.runtime.adapters),
        context_tokens=slot.runtime.context_tokens,
        socket_path=str(layout.engine_sockets / f"{name}.sock"),
        log_path=str(directory / "log" / f"{purpose}.log"),
        work_dir=str(directory / "cache" / purpose),
        profile_argv=profile,
        model_alias=slot.model,
    )
