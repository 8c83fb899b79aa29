"""Errors of the owner's page that a person has to resolve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

ASK_PAGE: Final[Mapping[str, Sentence]] = {
    "page-disabled": Sentence(
        mark("The settings of this device say that it has no page."),
        mark("Set page.enabled = true in config.toml and restart the agent, or use the commands in a terminal."),
    ),
    "page-port-taken": Sentence(
        mark("The page can't use port {port} of this device."),
        mark("Stop the program that uses the port, or choose another one with page.port in config.toml (0: any)."),
    ),
    "page-link-used": Sentence(
        mark("This link does not work: each works once, for two minutes, and for the user who asked for it."),
        mark("Ask for a new one with “modelota device page”."),
    ),
    "page-session-ended": Sentence(
        mark("You are not signed in here, or no longer."),
        mark("Open the page with “modelota device page”."),
    ),
    "page-caller-refused": Sentence(
        mark("This request may only come from the page's own process."),
        mark("Use the routes of docs/socket-api.md that are for everyone."),
    ),
    "page-request-refused": Sentence(
        mark("The page refused this request."),
        mark("Go back to the page, reload it, and try again from there."),
        {
            "foreign-host": mark("It was addressed to another host: a web page may be trying to reach this one."),
            "foreign-page": mark("Another web page sent it."),
            "form-token": mark("The form is not from this session of yours."),
            "peer-gone": mark("Whoever sent it had hung up."),
            "method": mark("The page does not take requests of this kind."),
            "no-form": mark("It came without a form."),
            "not-a-form": mark("What it carries is no form."),
            "too-large": mark("It is too large."),
            "no-such-choice": mark("There is no such choice."),
            "not-understood": mark("What it asks for could not be understood."),
            "too-many-streams": mark("Too many windows of the page are open."),
        },
    ),
    "page-not-found": Sentence(
        mark("The page has nothing at {path}."),
        mark("Go to the overview."),
    ),
}
