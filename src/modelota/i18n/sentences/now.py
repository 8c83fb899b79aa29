"""How the device, or the repository, is after an error: the second of the three sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.texts import mark

NOW: Final[Mapping[str, str]] = {
    "unchanged": mark("Nothing was changed."),
    "serving": mark("Version {version} stays in use and works as before."),
    "returned": mark("The device went back to version {version}, which is in use."),
    "updated": mark("Version {version} is in use."),
    "paused": mark("The update is paused; what was fetched is kept."),
    "continuing": mark("The update goes on in the background."),
    "waiting": mark("The update waits and goes on by itself."),
    "not-installed": mark("No model is installed on this device yet."),
    "degraded": mark("No installed version passes its checks; the device runs what still works."),
    "offered": mark("The offer stays open; nothing is fetched before you decide."),
    "cancelled": mark("The update was cancelled, and what was fetched for it was removed."),
    "removing": mark("Some of it is removed; run the same command with the same {path} again to go on."),
    "unknown": mark("How the device is now could not be told. “modelota device status” shows it."),
    "published-unchanged": mark("The published repository is unchanged; devices see no difference."),
    "published-unclear": mark(
        "Devices see either the old state or the new one, never a mixture; run the command again."
    ),
}
"""Keys that an error's `now` may have, and their sentences."""
