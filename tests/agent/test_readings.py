"""What the device says about conditions, whatever it is that answers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from modelota.agent import readings

BERLIN = ZoneInfo("Europe/Berlin")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def answering(place: Path, text: str, status: int = 0) -> tuple[str, ...]:
    """A command that prints `text` and ends with `status`."""
    path = place / "answers"
    (place / "text").write_text(text)
    path.write_text(f"#!/bin/sh\ncat {place / 'text'}\nexit {status}\n")
    path.chmod(0o755)
    return (str(path),)


@pytest.mark.parametrize(
    ("window", "at", "zone", "expected"),
    [
        ("02:00-05:00", "2026-11-24T02:30:00Z", UTC, True),
        ("02:00-05:00", "2026-11-24T02:00:00Z", UTC, True),
        ("02:00-05:00", "2026-11-24T05:00:00Z", UTC, False),
        ("02:00-05:00", "2026-11-24T01:59:59Z", UTC, False),
        ("22:00-04:00", "2026-11-24T23:00:00Z", UTC, True),
        ("22:00-04:00", "2026-11-24T03:59:59Z", UTC, True),
        ("22:00-04:00", "2026-11-24T04:00:00Z", UTC, False),
        ("22:00-04:00", "2026-11-24T12:00:00Z", UTC, False),
        ("03:00-03:00", "2026-11-24T12:00:00Z", UTC, True),
        ("02:00-05:00", "2026-11-23T18:30:00Z", SHANGHAI, True),
        ("02:00-05:00", "2026-11-24T02:30:00Z", SHANGHAI, False),
        # summer time begins in Berlin on 29 March 2026 at 01:00 UTC: 02:00-03:00 does not exist on the wall
        ("02:00-05:00", "2026-03-29T00:59:59Z", BERLIN, False),
        ("02:00-05:00", "2026-03-29T01:00:00Z", BERLIN, True),
        ("02:00-05:00", "2026-03-29T02:59:59Z", BERLIN, True),
        ("02:00-05:00", "2026-03-29T03:00:00Z", BERLIN, False),
        ("02:10-02:50", "2026-03-29T01:30:00Z", BERLIN, False),
        # it ends on 25 October 2026 at 01:00 UTC: the hour from 02:00 comes twice
        ("02:00-05:00", "2026-10-25T00:30:00Z", BERLIN, True),
        ("02:00-05:00", "2026-10-25T01:30:00Z", BERLIN, True),
        ("02:00-05:00", "2026-10-25T03:59:59Z", BERLIN, True),
        ("02:00-05:00", "2026-10-25T04:00:00Z", BERLIN, False),
    ],
)
def test_the_window_goes_by_the_clock_on_the_wall(
    window: str, at: str, zone: ZoneInfo | None, *, expected: bool
) -> None:
    """Over midnight, in another zone, and when summer time begins and ends."""
    assert readings.in_window(window, datetime.fromisoformat(at), zone) is expected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('{"type":"u","data":1}', False),
        ('{"type":"u","data":2}', True),
        ('{"type":"u","data":3}', False),
        ('{"type":"u","data":4}', True),
        ('{"type":"u","data":0}', None),
        ('{"type":"u","data":99}', None),
        ('{"type":"s","data":"no"}', None),
        ("", None),
        ("[1", None),
    ],
)
async def test_what_networkmanager_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, holds: bool | None
) -> None:
    """Its five answers, and answers that are none; unknown comes with a reason."""
    monkeypatch.setattr(readings, "_NETWORK", answering(tmp_path, text))
    found = await readings.unmetered()
    assert found.holds is holds
    assert (found.reason is None) == (holds is not None)


async def test_without_networkmanager_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bus, no service, no command: unknown with a reason."""
    monkeypatch.setattr(readings, "_NETWORK", answering(tmp_path, "", status=1))
    assert (await readings.unmetered()).reason == "no NetworkManager"
    monkeypatch.setattr(readings, "_NETWORK", ("/nowhere/busctl",))
    assert (await readings.unmetered()).reason == "No such file or directory"


LOGIND = """{"type":"a(ssssuu)","data":[[
["sleep","ModemManager","needs to reset devices","delay",0,700],
["shutdown","unattended-upgrades","Unattended upgrades","block",0,801],
["handle-power-key:handle-lid-switch","gnome","keys","block",1000,900],
["sleep:idle","Presentation\\u0007  of slides","","block",1000,901],
["shutdown:sleep","unattended-upgrades","again","block-weak",0,802]]]}"""


async def test_who_blocks_shutdown_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of shutdown or sleep count; delays and keys do not; names are printable, each once."""
    monkeypatch.setattr(readings, "_INHIBITORS", answering(tmp_path, LOGIND))
    assert await readings.shutdown_blockers() == ("unattended-upgrades", "Presentation of slides")


@pytest.mark.parametrize("text", ["", "{}", '{"data":[]}', '{"data":[[["a"]]]}', '{"data":"x"}'])
async def test_a_logind_that_does_not_answer_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Absent, or with an answer that is none."""
    monkeypatch.setattr(readings, "_INHIBITORS", answering(tmp_path, text))
    assert await readings.shutdown_blockers() == ()
    monkeypatch.setattr(readings, "_INHIBITORS", answering(tmp_path, LOGIND, status=1))
    assert await readings.shutdown_blockers() == ()


def hook(place: Path, body: str) -> tuple[str, ...]:
    """A hook with an argument of its own."""
    path = place / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return (str(path), "--strict")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 0", None),
        ("echo ignored; exit 0", None),
        ("exit 75", "closed"),
        ("echo; echo 'door  open'; exit 75", "door open"),
        ("printf '门开着\\033[31m'; exit 75", "门开着 [31m"),
        ("head -c 300 /dev/zero | tr '\\0' x; exit 75", "x" * 40),
        ("exit 1", "status 1"),
        ("echo crash; kill -9 $$", "status -9"),
        ("sleep 300", "timeout"),
    ],
)
async def test_what_a_hook_says(tmp_path: Path, body: str, reason: str | None) -> None:
    """0 opens, 75 closes with its own words, anything else closes with how it ended."""
    assert await readings.hook_reason(hook(tmp_path, body), "switch", 0.5 if "sleep" in body else 20) == reason


async def test_a_hook_is_told_the_step(tmp_path: Path) -> None:
    """The step is its last argument, after those of the settings."""
    assert await readings.hook_reason(hook(tmp_path, 'echo "$1 $2"; exit 75'), "activate", 20) == "--strict activate"


async def test_a_missing_hook_closes(tmp_path: Path) -> None:
    """A device whose check is gone is not updated as if it had none."""
    assert await readings.hook_reason((str(tmp_path / "gone"),), "fetch", 20) == "No such file or directory"
