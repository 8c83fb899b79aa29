"""Accelerators of this device, from what the kernel shows; no library of a vendor is needed, and none is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

_ROOT: Final = Path("/")
_PCI_VENDORS: Final = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
_NAME_MAX_CHARS: Final = 80


class Accelerator(msgspec.Struct, frozen=True):
    """One accelerator: its kind (`nvidia`, `amd`, `intel`, `npu`), and what the kernel calls it."""

    kind: str
    name: str


def accelerators(*, base: Path = _ROOT) -> tuple[Accelerator, ...] | None:
    """Those that this device has; empty when there are none, None where the kernel does not show devices.

    A graphics processor counts when the kernel has a rendering node for it, or its vendor's driver lists it; a neural
    processor when the kernel's accelerator class has it. Whether a runtime can use it, its self-test shows.
    """
    if not (base / "sys/class").is_dir():
        return None
    found = [
        Accelerator("nvidia", _field(information, "Model") or "NVIDIA")
        for information in sorted((base / "proc/driver/nvidia/gpus").glob("*/information"))
    ]
    listed = {entry.kind for entry in found}
    for node in sorted((base / "sys/class/drm").glob("renderD*")):
        kind = _PCI_VENDORS.get(_text(node / "device/vendor"))
        if kind is not None and not (kind == "nvidia" and kind in listed):
            found.append(Accelerator(kind, _name(node / "device", kind)))
    neural = sorted((base / "sys/class/accel").glob("accel*"))
    return (*found, *(Accelerator("npu", _name(node / "device", "npu")) for node in neural))


def _name(device: Path, kind: str) -> str:
    label = _text(device / "product_name") or _text(device / "label")
    number = _text(device / "device")
    return label or (f"{kind} {number}" if number else kind)


def _field(path: Path, name: str) -> str:
    for line in _text(path, max_chars=4096).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()[:_NAME_MAX_CHARS]
    return ""


def _text(path: Path, *, max_chars: int = _NAME_MAX_CHARS) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(max_chars).strip()
    except OSError:
        return ""
