"""Where a publishing command gets passphrases: environment, descriptor, or a person at the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from modelota.cli.session import current
from modelota.i18n.texts import mark
from modelota.repository.passphrases import Passphrases

PassphraseFd = Annotated[
    int | None,
    typer.Option(
        "--passphrase-fd",
        metavar="NUMBER",
        min=0,
        help=mark("Read passphrases from this file descriptor; else MODELOTA_PASSPHRASE, else ask."),
    ),
]


def passphrases(descriptor: int | None) -> Passphrases:
    """The passphrases of this run; a person is asked only at a terminal, and never with `--json`."""
    asks = sys.stdin.isatty() and not current().as_json
    return Passphrases(prompt=_prompt if asks else None, descriptor=descriptor)


def _prompt(key: str, new: bool) -> str | None:
    session = current()
    texts = session.texts
    question = mark("New passphrase for {key}: ") if new else mark("Passphrase for {key}: ")
    while True:
        first = getpass.getpass(texts.say(question, key=key))
        if not new or not first:
            return first or None
        if getpass.getpass(texts.say("Once more: ")) == first:
            return first
        session.aside(texts.say("The two differ. Please try again."))
