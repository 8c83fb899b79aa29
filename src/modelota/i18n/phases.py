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
    "removing": mark("Uninstalling"),
    "rolling-back": mark("going back"),
    "degraded": mark("running with restrictions"),
}

GATES: Final[Mapping[str, str]] = {
    "person": mark("you to let it go on"),
    "self-test": mark("a calm moment to repeat the self-test"),
    "charging": mark("external power"),
    "unmetered": mark("a connection that costs nothing extra"),
    "parked": mark("the vehicle to be parked"),
    "window": mark("the time of day that is set for it"),
    "time": mark("the time that you named"),
    "network-unreachable": mark("the repository to be reachable"),
    "network-interrupted": mark("the network to come back"),
    "server-error": mark("the repository's server to recover"),
    "object-missing": mark("the repository to be complete"),
    "disk-error": mark("the disk to work again"),
    "no-space": mark("free space"),
    "permission-denied": mark("permission to write"),
    "worker-crashed": mark("the next attempt"),
}

# Kinds of holder; what follows the colon is the holder's own word.
HOLDERS: Final[Mapping[str, str]] = {
    "inhibitor": mark("“{name}” to let it go on"),
    "logind": mark("“{name}”, which keeps the system from shutting down"),
    "hook": mark("this device's own check (“{name}”)"),
}

STEPS: Final[Mapping[str, str]] = {
    "fetch": mark("download"),
    "activate": mark("start of the new version"),
    "switch": mark("switch-over"),
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
    """Name what a step waits for: a condition, or `<kind>:<name>` of a holder; an unknown one is given as it is."""
    kind, colon, name = gate.partition(":")
    if colon and kind in HOLDERS:
        return texts_for(language).say(HOLDERS[kind], name=clean(name))
    return _named(GATES, gate, language)


def step_name(step: str, language: Language) -> str:
    """Name a step that a gate stands in front of; an unknown one is given as it is."""
    return _named(STEPS, step, language)


def engine_name(state: str, language: Language) -> str:
    """Name the state of the engine; an unknown one is given as it is."""
    return _named(ENGINES, state, language)


def _named(table: Mapping[str, str], key: str, language: Language) -> str:
    return texts_for(language).say(table[key]) if key in table else clean(key)
