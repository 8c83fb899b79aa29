"""What a release needs of a device, in words (clause 7.1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelota.i18n import Language, units
from modelota.i18n.errors import REQUIREMENTS
from modelota.i18n.texts import Texts, clean, texts_for


def requirement_lines(requires: Mapping[str, Any], device_models: Sequence[str], language: Language) -> list[str]:
    """One line for each thing that a device must have; what the release does not ask for is left out.

    Args:
        requires: the fields of `spec.manifest.Requires`, as plain data.
        device_models: for which devices it is; empty: any.
        language: of the reader.
    """
    texts = texts_for(language)
    compute = requires.get("compute") or {}
    needs: dict[str, str] = {
        "memory": _size(requires.get("memory_bytes"), texts),
        "storage": _size(requires.get("storage_bytes"), texts),
        "cores": str(compute["cores"]) if compute.get("cores", 1) > 1 else "",
        "architecture": texts.listing([clean(each) for each in compute.get("architectures", ())]),
        "cpu-features": texts.listing([clean(each) for each in compute.get("features", ())]),
        "compute-gops": f"{compute['min_gops']:g}" if compute.get("min_gops") else "",
        "compute-memory-gb-s": f"{compute['min_memory_gb_s']:g}" if compute.get("min_memory_gb_s") else "",
        "accelerator": texts.listing([clean(each) for each in compute.get("accelerators", ())]),
        "os": texts.listing([_system(each) for each in requires.get("os", ())]),
        "agent": _minimum(requires.get("agent_min_version")),
        "runtime": _minimum(requires.get("runtime_min_version")),
        "device-model": texts.listing([clean(each) for each in device_models]),
    }
    return [
        texts.say("{label}: {text}", label=texts.say(REQUIREMENTS[name]), text=need)
        for name, need in needs.items()
        if need
    ]


def _size(size_bytes: object, texts: Texts) -> str:
    return units.size(size_bytes, texts.language) if isinstance(size_bytes, int) and size_bytes else ""


def _minimum(version: object) -> str:
    return f"≥ {clean(version)}" if version else ""


def _system(system: Mapping[str, Any]) -> str:
    versions = [
        f"{sign} {clean(system[field])}"
        for sign, field in (("≥", "min_version"), ("≤", "max_version"))
        if system.get(field)
    ]
    return " ".join([clean(system.get("family", "")), *versions])
