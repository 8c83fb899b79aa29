"""What surrounds a measurement."""

from __future__ import annotations

from pathlib import Path

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
