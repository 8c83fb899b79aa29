"""One run of the command line: language, form of the output, and where it goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, NamedTuple

from modelota.errors import AskPerson
from modelota.i18n import Language, pick_language
from modelota.i18n.texts import Texts, mark, pad, texts_for, width

# Options that every command takes, wherever they stand before `--`. The name, what follows it, and what it does.
EVERYWHERE: Final = (
    ("--lang", mark("LANGUAGE"), mark("Language to speak: zh or en. Default: the system's.")),
    ("--json", "", mark("Print JSON for programs instead of text.")),
    ("--help", "", mark("Show this help.")),
)


class Session:
    """How this run speaks.

    Attributes:
        language: of all text.
        as_json: standard output carries JSON and nothing else.
        texts: the sentences of the language.
        reported: the command has already said why it ends with a status other than 0.
    """

    def __init__(self, language: Language, *, as_json: bool) -> None:
        self.language: Final = language
        self.as_json: Final = as_json
        self.texts: Final[Texts] = texts_for(language)
        self.reported = False

    def say(self, msgid: str, /, **params: object) -> None:
        """Print a sentence to standard output; with `--json`, nothing."""
        self.line(self.texts.say(msgid, **params))

    def line(self, text: str = "") -> None:
        """Print rendered text to standard output; with `--json`, nothing."""
        if not self.as_json:
            print(text, flush=True)

    def aside(self, text: str) -> None:
        """Print rendered text that is not the command's result to standard error; with `--json`, nothing."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def emit(self, value: object) -> None:
        """Print a value as one line of JSON; without `--json`, nothing."""
        if self.as_json:
            import msgspec

            print(msgspec.json.encode(value, enc_hook=str).decode(), flush=True)

    def rows(self, rows: Sequence[tuple[str, str]], indent: str = "") -> None:
        """Print labels and values in two columns; lines of a value stay in theirs."""
        columns = max((width(label) for label, _ in rows), default=0) + 2
        for label, value in rows:
            first, *more = value.split("\n")
            self.line(f"{indent}{pad(label, columns)}{first}".rstrip())
            for line in more:
                self.line(f"{indent}{' ' * columns}{line}".rstrip())

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        widths = [max(width(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
        for row in (headings, *rows):
            self.line("  ".join(pad(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip())


_session: ContextVar[Session] = ContextVar("session")


def current() -> Session:
    """The session of this run."""
    return _session.get()


def begin(session: Session) -> None:
    """Make `session` the one of this run."""
    _session.set(session)


class Parsed(NamedTuple):
    """A session and the arguments that are left for the commands."""

    session: Session
    arguments: list[str]
    error: AskPerson | None


def parse_everywhere(arguments: Sequence[str], environ: Mapping[str, str]) -> Parsed:
    """Take the options that every command has out of `arguments`.

    A wrong one is returned, not raised, so that it can be told in the form asked for.
    """
    rest: list[str] = []
    language: str | None = None
    as_json = False
    error: AskPerson | None = None
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--json":
            as_json = True
        elif word == "--lang" or word.startswith("--lang="):
            value = word.partition("=")[2] if "=" in word else (queue.pop(0) if queue else "")
            if value.lower().replace("_", "-").split(".")[0] in {"zh", "zh-cn", "zh-hans", "en", "en-us", "en-gb"}:
                language = value
            else:
                error = AskPerson("argument-invalid", argument=f"--lang {value}".strip(), detail="not-a-choice")
        else:
            rest.append(word)
    return Parsed(Session(pick_language(language, environ), as_json=as_json), rest, error)
