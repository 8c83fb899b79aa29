"""The background scrub: read installed versions before their damage is met in use. It only detects."""

from __future__ import annotations

import msgspec

from modelota.agent.core import Core
from modelota.errors import ModelotaError, RefuseContent
from modelota.runtime.messages import plain
from modelota.spec import api_life


async def scrub(core: Core, model: str) -> None:
    """Read the installed versions of `model` and tell what is damaged; an error is journalled and tried next time."""
    try:
        found = await core.maintenance.run("scrub", {"model": model})
        slots = msgspec.json.decode(found, type=tuple[api_life.SlotCheck, ...])
        damaged = [slot for slot in slots if slot.damaged]
        facts = {"slots": len(slots), "damaged": sum(file.chunks for slot in damaged for file in slot.damaged)}
        core.journal.note(model, "scrubbed", facts)
        for slot in damaged:
            error = RefuseContent("slot-damaged", slot=f"{slot.version}+{slot.variant}", path=slot.damaged[0].path)
            core.hub.publish("notice", model, {"error": {"code": error.code, "params": plain(error.params)}})
    except ModelotaError as error:
        core.hub.publish("notice", model, {"error": {"code": error.code, "params": plain(error.params)}})
