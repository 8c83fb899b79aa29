"""The checks of 6.3-c and 7.2-a notice a product that loses data, leaks them, or touches the version before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.conformance.test_judgement import Told, status

from modelota.conformance.chapters.user_data import FIRST, TRIPS, Backup, Copy, Kept, OwnData, Travelled, Trip
from modelota.conformance.checks import of_user_data
from modelota.conformance.commands import Done

BEFORE = {"notes": "100640 a"}
LATER = BEFORE | {"later": "100640 b"}
CARRIED = {"notes": "100640 c", "later": "100640 b"}
REFUSED = Done((), 1, '{"error": {"code": "backup-not-opened"}}', "")
DONE = Done((), 0, "", "")


def travelled(trip: Trip) -> Travelled:
    same = trip.layout == 1
    newer = LATER if same else CARRIED
    return Travelled(
        trip=trip,
        before=BEFORE,
        newer=newer,
        after=newer if same else BEFORE,
        beside=[] if same else [newer],
        kept=Kept("watching", "previous", ("t", "t", "t"), []),
        copy=Copy(("0o600", "0o700"), 0, 400, 1000, 1000),
        active=FIRST,
        serves=FIRST,
    )


def own_data(spoil: Callable[[OwnData], object] = lambda _: None) -> Told:
    backup = Backup(DONE, REFUSED, DONE, "0o600", 0, BEFORE, BEFORE)
    told = OwnData([travelled(trip) for trip in TRIPS], ["1", "1"], backup)
    spoil(told)
    return Told(own_data=told)


def trip(number: int, **changes: Any) -> Callable[[OwnData], object]:
    def spoil(told: OwnData) -> None:
        told.trips[number] = replace(told.trips[number], **changes)

    return spoil


def backup(**changes: Any) -> Callable[[OwnData], object]:
    def spoil(told: OwnData) -> None:
        told.backup = replace(told.backup, **changes)

    return spoil


def test_a_product_that_does_right_passes() -> None:
    """Both rows."""
    assert status(of_user_data.not_lost, own_data()) == ("passed", "")
    assert status(of_user_data.saved_first, own_data()) == ("passed", "")


@pytest.mark.parametrize(
    ("spoil", "claim"),
    [
        (trip(0, after=BEFORE), "same-layout-user-keeps-what-was-written"),
        (trip(1, beside=[LATER]), "same-layout-watch-keeps-what-was-written"),
        (trip(0, newer=BEFORE, after=BEFORE), "same-layout-user-keeps-what-was-written"),
        (trip(2, after=CARRIED), "other-layout-user-data-of-before-in-place"),
        (trip(2, newer=LATER), "other-layout-user-data-of-before-in-place"),
        (trip(3, beside=[]), "other-layout-watch-newer-data-beside"),
        (trip(3, beside=[BEFORE]), "other-layout-watch-newer-data-beside"),
        (trip(1, serves="1.1.3"), "same-layout-watch-version-before-serves"),
        (lambda told: told.layouts_met.append("2"), "version-before-meets-only-its-layout"),
        (lambda told: told.layouts_met.clear(), "version-before-meets-only-its-layout"),
    ],
)
def test_lost_data(spoil: Callable[[OwnData], object], claim: str) -> None:
    """Data that are gone, data of the wrong version, a version that meets what it can't read: each is noticed."""
    verdict, reason = status(of_user_data.not_lost, own_data(spoil))
    assert verdict == "failed"
    assert claim in reason


@pytest.mark.parametrize(
    ("spoil", "claim"),
    [
        (trip(0, kept=Kept("idle", "previous", ("t", "t", "t"), [])), "version-before-stays-read-only"),
        (trip(0, kept=Kept("watching", None, ("t", "t", "t"), [])), "version-before-stays-read-only"),
        (trip(0, kept=Kept("watching", "previous", ("t", "t", "t"), ["model.bin"])), "version-before-stays-read-only"),
        (trip(1, kept=Kept("watching", "previous", ("t", "u", "t"), [])), "version-before-unchanged-and-back"),
        (trip(0, copy=Copy(("0o640", "0o700"), 0, 400, 1000, 1000)), "copy-is-private"),
        (trip(0, copy=Copy(("0o600", "0o755"), 0, 400, 1000, 1000)), "copy-is-private"),
        (trip(0, copy=Copy(("0o600", "0o700"), 1, 400, 1000, 1000)), "copy-is-sealed"),
        (trip(0, copy=Copy(("0o600", "0o700"), 0, 0, 1000, 1000)), "copy-is-sealed"),
        (trip(0, copy=Copy(("0o600", "0o700"), 0, 400, 1000, None)), "copy-is-on-record"),
        (trip(3, after=CARRIED), "other-layout-watch-copy-restored-identically"),
        (backup(windows=1), "backup-is-encrypted"),
        (backup(mode="0o644"), "backup-is-encrypted"),
        (backup(wrong=DONE), "backup-opens-with-its-passphrase-only"),
        (backup(imported={}), "backup-identical-on-another-device"),
        (backup(exported={}, imported={}), "backup-identical-on-another-device"),
    ],
)
def test_bad_copies(spoil: Callable[[OwnData], object], claim: str) -> None:
    """A copy that others may read, that leaks, that does not come back the same: each is noticed."""
    verdict, reason = status(of_user_data.saved_first, own_data(spoil))
    assert verdict == "failed"
    assert claim in reason
