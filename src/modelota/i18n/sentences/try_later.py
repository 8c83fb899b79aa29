"""Errors after which the same call may succeed later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

TRY_LATER: Final[Mapping[str, Sentence]] = {
    "network-unreachable": Sentence(
        mark("{url} could not be reached."),
        mark("Check the network connection, then try again."),
        {
            "dns": mark("The server's name could not be resolved."),
            "refused": mark("The server refused the connection."),
            "timeout": mark("The server did not answer in time."),
            "tls": mark("The server's certificate was not accepted."),
        },
    ),
    "network-interrupted": Sentence(
        mark("The connection to {url} broke off."),
        mark("Try again once the network is back. What was already fetched is not fetched again."),
    ),
    "server-error": Sentence(
        mark("The server answered the request for {url} with status {status}."),
        mark("Try again later. If it goes on, tell whoever runs the repository."),
    ),
    "object-missing": Sentence(
        mark("{url} is not there. The repository may be changing at this moment, or a mirror lags behind."),
        mark("Try again in a few minutes. If it goes on, tell whoever runs the repository."),
    ),
    "device-busy": Sentence(
        mark("Another modelota process is already using {path} ({holder})."),
        mark("Use the one that is running, or stop it and try again."),
    ),
    "agent-not-running": Sentence(
        mark("No agent is running for {path}."),
        mark("Start it with “modelota device run”, then try again."),
    ),
    "engine-start-failed": Sentence(
        mark("The engine for {slot} did not start."),
        mark("Close programs that use much memory and try again, or go back with “modelota device rollback”."),
    ),
    "engine-timeout": Sentence(
        mark("The engine for {slot} did not answer within {seconds}."),
        mark("Try again when the device is less busy."),
    ),
    "engine-crashed": Sentence(
        mark("The engine for {slot} stopped unexpectedly (status {status})."),
        mark("Try again. If it happens again, go back with “modelota device rollback”."),
    ),
    "worker-crashed": Sentence(
        mark("The process that did the work ({job}) stopped unexpectedly (status {status})."),
        mark("Try again; it continues where it stopped. If it happens again, report it with the code shown here."),
    ),
    "releases-paused": Sentence(
        mark("The publisher has paused the release of {model} {version}."),
        mark("Nothing to do. It is offered again when the publisher lifts the pause."),
    ),
    "release-staged": Sentence(
        mark("{model} {version} is being released by and by, and this device's turn has not come yet."),
        mark("Nothing to do. It is offered when the turn comes; who wants it now can ask for this version."),
    ),
    "page-start-failed": Sentence(
        mark("The process of the page could not be started."),
        mark("Try again. If it goes on, look at log/page.log below the device root."),
    ),
    "peer-unreachable": Sentence(
        mark("Nothing answers at {path}, or the connection broke off."),
        mark("See whether the agent runs (“modelota device status”), then try again."),
    ),
    "peer-timeout": Sentence(
        mark("There was no answer at {path} within {seconds}."),
        mark("Try again when the device is less busy."),
    ),
    "peer-protocol": Sentence(
        mark("What answers at {path} does not speak as it should."),
        mark("Make sure that both sides have the same version of modelota, then try again."),
    ),
    "publish-conflict": Sentence(
        mark("Someone else published to this repository first: {path} already exists."),
        mark("Run the command again. It starts from the newest state of the repository."),
    ),
    "self-test-inconclusive": Sentence(
        mark("The self-test “{test}” gave no clear result, because the device was too busy or too warm to measure."),
        mark("Nothing to do. The test is repeated when the device is calmer."),
    ),
    "update-waits": Sentence(
        mark("The change to version {version} waits for {waits_for}."),
        mark("Nothing to do. An agent that runs (“modelota device run”) goes on with it by itself."),
    ),
    "short-pause": Sentence(
        mark(
            "Memory does not hold two engines at once ({need_bytes} are needed, {free_bytes} are free): while version "
            "{version} starts, questions wait for a moment."
        ),
    ),
    "answers-cut": Sentence(
        mark("The engine of {model} was replaced; answers not finished after {seconds} were cut: {requests}."),
        mark("Ask again; the version that is in use now answers."),
    ),
    "disk-error": Sentence(
        mark("Reading or writing {path} failed."),
        mark("Check that the disk is connected and sound, then try again."),
    ),
}
