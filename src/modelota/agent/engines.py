"""From a slot to the specification of its engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from modelota.agent.config import Config
from modelota.agent.slot_access import SlotAccess
from modelota.errors import AskPerson, OurBug
from modelota.runtime.protocol import EngineFile, EngineSpec
from modelota.spec.slot import SlotDescription
from modelota.storage.layout import Layout

_MEASURED_MARGIN: Final = 1.1  # one run measured it, and another prompt may take a little more
_UNMEASURED_MARGIN_BYTES: Final = 256 << 20  # code and context of an engine whose weights alone are known


def engine_spec(
    layout: Layout, config: Config, slot: SlotDescription, *, purpose: str, access: SlotAccess | None = None
) -> EngineSpec:
    """What to start an engine of `slot` from.

    Args:
        layout: of the device root.
        config: the integrator's settings (command profiles).
        slot: an installed slot.
        purpose: `serve`, `test`, `compare`, …: engines of one slot for different purposes have their own sockets and
            logs, so that they can run beside each other.
        access: gives a sealed slot's secret, and what was verified before; None: a plain slot is verified, a sealed
            one can't be opened.

    Raises:
        AskPerson: `runtime-missing`: the slot needs a command profile that this device does not have; of a sealed slot
            also `root-not-private`, `permission-denied`, `no-space`.
        TryLater: `disk-error`, of a sealed slot.
    """
    directory = layout.model(slot.model).slot(slot.slot.name)
    files = directory / "files"
    profile: tuple[str, ...] = ()
    if slot.runtime.profile is not None:
        known = config.engines.commands.get(slot.runtime.profile)
        if known is None:
            raise AskPerson("runtime-missing", runtime=slot.runtime.name, need=slot.runtime.profile)
        profile = known.argv
    if slot.at_rest == "sealed" and access is None:
        raise OurBug("invariant-broken", detail=f"no access to the sealed slot {slot.slot.name}")
    stamps = access.stamps(slot) if access is not None else {}
    # a hash keeps the socket's address short whatever model and version are called
    name = hashlib.sha256(f"{slot.model} {slot.slot.name} {purpose}".encode()).hexdigest()[:12]
    return EngineSpec(
        label=slot.slot.name,
        runtime=slot.runtime.name,
        files=tuple(
            EngineFile(
                path=str(files / file.path),
                size_bytes=file.size_bytes,
                digest=file.digest,
                stamp=stamps.get(file.path),
            )
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
        user_data_dir=str(layout.model(slot.model).user_data) if purpose.partition("-")[0] == "serve" else None,
        secret=access.secret(slot) if access is not None else None,
    )


def memory_need_bytes(slot: SlotDescription, self_tests: Sequence[tuple[str, str, dict[str, Any]]]) -> int:
    """What an engine of `slot` is expected to take: as its last self-test measured, else its files and a margin.

    Args:
        slot: an installed slot.
        self_tests: the records of its model, oldest first: slot, time, record.
    """
    for name, _, record in reversed(self_tests):
        measured = record.get("memory", {}).get("pss_bytes") if name == slot.slot.name else None
        if isinstance(measured, int) and measured > 0:
            return int(measured * _MEASURED_MARGIN)
    return slot.size_bytes + _UNMEASURED_MARGIN_BYTES
