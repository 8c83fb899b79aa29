"""What surrounds a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelota.telemetry.circumstances import circumstances


def test_what_cannot_be_read_is_unknown_with_a_reason(tmp_path: Path) -> None:
    """A machine without sensors says so."""
    found = circumstances(base=tmp_path)
    assert found.temperature_c is found.power is found.governor is None
    assert found.temperature_reason
    assert found.power_reason
    assert found.governor_reason


def test_sensors_are_read_and_implausible_ones_ignored(tmp_path: Path) -> None:
    """The hottest believable zone, mains before battery, and the governor."""
    files = {
        "class/thermal/thermal_zone0/temp": "45500\n",
        "class/thermal/thermal_zone1/temp": "61000\n",
        "class/thermal/thermal_zone2/temp": "-274000\n",
        "class/thermal/thermal_zone3/temp": "garbage\n",
        "class/power_supply/BAT0/type": "Battery\n",
        "class/power_supply/AC/type": "Mains\n",
        "class/power_supply/AC/online": "1\n",
        "devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    }
    for name, text in files.items():
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = circumstances(base=tmp_path)
    assert (found.temperature_c, found.power, found.governor) == (61.0, "mains", "powersave")
    (tmp_path / "sys/class/power_supply/AC/online").write_text("0\n")
    assert circumstances(base=tmp_path).power == "battery"


@pytest.mark.parametrize(
    ("supplies", "power"),
    [
        ({"BAT0": {"type": "Battery", "status": "Discharging"}, "AC": {"type": "Mains", "online": "0"}}, "battery"),
        ({"BAT0": {"type": "Battery", "status": "Charging"}}, "mains"),
        ({"BAT0": {"type": "Battery", "status": "Full"}}, "mains"),
        ({"BAT0": {"type": "Battery"}, "usb": {"type": "USB_PD", "online": "1"}}, "mains"),
        ({"mouse": {"type": "Battery", "scope": "Device", "status": "Discharging"}}, None),
        ({"ups": {"type": "UPS", "status": "Discharging"}}, "battery"),
        ({}, None),
    ],
)
def test_what_the_device_runs_on(tmp_path: Path, supplies: dict[str, dict[str, str]], power: str | None) -> None:
    """External power in any form, or a battery that it fills; batteries of other things do not count."""
    for name, fields in supplies.items():
        place = tmp_path / "sys/class/power_supply" / name
        place.mkdir(parents=True)
        for field, text in fields.items():
            (place / field).write_text(f"{text}\n")
    assert circumstances(base=tmp_path).power == power
