"""What surrounds a measurement and may explain it: load, temperature, power. Unknown is None with a reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from modelota.telemetry.profile import usable_cores

_ROOT: Final = Path("/")
_FED: Final = frozenset({"Charging", "Full", "Not charging"})  # battery states that only external power allows
_PLAUSIBLE_C: Final = range(-40, 151)  # sensors that are not there answer with -274 or with 200 and more


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """Circumstances of a measurement.

    Attributes:
        load_average: of the last minute, in runnable threads, or None.
        cores: usable processors.
        temperature_c: of the hottest thermal zone in degrees Celsius, or None.
        temperature_reason: why it is None.
        power: `mains`, `battery`, or None.
        power_reason: why it is None.
        governor: frequency governor of the first processor (`powersave`), or None.
        governor_reason: why it is None.
    """

    load_average: float | None
    cores: int
    temperature_c: float | None
    temperature_reason: str | None
    power: str | None
    power_reason: str | None
    governor: str | None
    governor_reason: str | None


def circumstances(*, base: Path = _ROOT) -> Circumstances:
    """Read them now; `base` is what sysfs is below."""
    sys = base / "sys"
    temperature = _temperature(sys)
    power = _power(sys)
    governor = _text(sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        load: float | None = round(os.getloadavg()[0], 2)
    except OSError:
        load = None
    return Circumstances(
        load_average=load,
        cores=usable_cores(base=base),
        temperature_c=temperature,
        temperature_reason=None if temperature is not None else "no thermal zone can be read",
        power=power,
        power_reason=None if power is not None else "no power supply is listed",
        governor=governor,
        governor_reason=None if governor is not None else "no frequency governor",
    )


def _temperature(sys: Path) -> float | None:
    readings = [
        int(text) / 1000
        for zone in sorted((sys / "class/thermal").glob("thermal_zone*"))
        if (text := _text(zone / "temp")) is not None and text.lstrip("-").isdigit()
    ]
    return max((celsius for celsius in readings if int(celsius) in _PLAUSIBLE_C), default=None)


def _power(sys: Path) -> str | None:
    """What the device runs on (kernel: Documentation/ABI/testing/sysfs-class-power)."""
    has_battery = False
    for supply in sorted((sys / "class/power_supply").glob("*")):
        if _text(supply / "scope") == "Device":  # the battery of a mouse says nothing about this device
            continue
        kind = _text(supply / "type") or ""
        if kind.startswith(("Mains", "USB", "Wireless")) and _text(supply / "online") not in {None, "0"}:
            return "mains"
        if kind in {"Battery", "UPS"}:
            has_battery = True
            if _text(supply / "status") in _FED:
                return "mains"
    return "battery" if has_battery else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()[:64] or None
    except OSError:
        return None
