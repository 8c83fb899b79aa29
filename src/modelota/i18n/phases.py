"""Phases of an update, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n import Language
from modelota.i18n.texts import clean, mark, texts_for

PHASES: Final[Mapping[str, str]] = {
    "idle": mark("nothing under way"),
    "offered": mark("waiting for your decision"),
    "rechecking": mark("checking once more"),
    "fetching": mark("downloading"),
    "verifying": mark("verifying"),
    "deploying": mark("installing"),
    "testing": mark("testing the new version"),
    "waiting": mark("waiting"),
    "activating": mark("switching over"),
    "watching": mark("watching the new version"),
    "rolling-back": mark("going back"),
    "degraded": mark("running with restrictions"),
}

GATES: Final[Mapping[str, str]] = {
    "person": mark("you to let it go on"),
    "self-test": mark("a calm moment to repeat the self-test"),
    "driving": mark("the vehicle to be parked"),
    "battery": mark("external power"),
    "os-update": mark("the system update to finish"),
    "metered": mark("a connection that costs nothing extra"),
    "busy": mark("the device to be less busy"),
    "network-unreachable": mark("the repository to be reachable"),
    "network-interrupted": mark("the network to come back"),
    "server-error": mark("the repository's server to recover"),
    "object-missing": mark("the repository to be complete"),
    "disk-error": mark("the disk to work again"),
    "no-space": mark("free space"),
    "permission-denied": mark("permission to write"),
    "worker-crashed": mark("the next attempt"),
}

ENGINES: Final[Mapping[str, str]] = {
    "running": mark("running"),
    "starting": mark("starting"),
    "stopped": mark("stopped (starts when it is used)"),
    "failed": mark("failed"),
}


def phase_name(phase: str, language: Language) -> str:
    """Name a phase; an unknown one is given as it is."""
    return _named(PHASES, phase, language)


def gate_name(gate: str, language: Language) -> str:
    """Name what a step waits for; an unknown gate or holder is given as it is."""
    return _named(GATES, gate, language)


def engine_name(state: str, language: Language) -> str:
    """Name the state of the engine; an unknown one is given as it is."""
    return _named(ENGINES, state, language)


def _named(table: Mapping[str, str], key: str, language: Language) -> str:
    return texts_for(language).say(table[key]) if key in table else clean(key)
