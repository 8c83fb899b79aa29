"""Options of publishing commands that are more than a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar, get_args

import msgspec
import typer

from modelota.errors import AskPerson
from modelota.i18n.texts import mark
from modelota.repository.workspace import Kem, SuiteName, Threshold, Thresholds

if TYPE_CHECKING:
    from modelota.repository.packages import PackageChoice

_THRESHOLD: Final = re.compile(
    r"(root|targets|snapshot|timestamp|releases|control)=([0-9]{1,2})/([0-9]{1,2})", re.ASCII
)
_DURATION: Final = re.compile(r"([0-9]{1,5})([hd])", re.ASCII)
_HOUR_S: Final = 3600

TitleZh = Annotated[
    str | None, typer.Option("--title-zh", metavar="TEXT", help=mark("What people call the model, in Chinese."))
]
TitleEn = Annotated[
    str | None, typer.Option("--title-en", metavar="TEXT", help=mark("What people call the model, in English."))
]
FullOnly = Annotated[
    bool, typer.Option("--full-only", help=mark("Make full packages only: quicker, but every device downloads all."))
]
Incremental = Annotated[
    bool,
    typer.Option(
        "--incremental",
        help=mark(
            "Insist on an incremental package: refuse the release where it would be above 30 % of the full one, or "
            "has nothing to start from."
        ),
    ),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        metavar="VERSION",
        help=mark(
            "Make a differential package from this version if it is smaller than the full one; may be repeated. "
            "Default: from the newest three, and the first of each major version, where it saves 1 %."
        ),
    ),
]
ArchiveKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--archive-key", metavar="FILE", help=mark("Open earlier releases with this key, if those here do not.")
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", metavar="N", min=1, max=1024, help=mark("Processes that compress. Default: one per processor core.")
    ),
]

T = TypeVar("T")


def title_from(zh: str | None, en: str | None) -> dict[Literal["zh-CN", "en"], str]:
    """What people call a model, by language."""
    return {**({"zh-CN": zh} if zh else {}), **({"en": en} if en else {})}


def thresholds_from(texts: Sequence[str]) -> Thresholds:
    """Thresholds from `role=need/keys`.

    Raises:
        AskPerson: `argument-invalid`.
    """
    chosen: dict[str, Threshold] = {}
    for text in texts:
        match = _THRESHOLD.fullmatch(text)
        if match is None or not 1 <= int(match[2]) <= int(match[3]) <= 32:
            raise AskPerson("argument-invalid", argument=f"--threshold {text}", detail="not-a-threshold")
        chosen[match[1]] = Threshold(need=int(match[2]), keys=int(match[3]))
    return msgspec.structs.replace(Thresholds(), **chosen)


def kem_named(text: str) -> Kem:
    """The key encapsulation called `text`.

    Raises:
        AskPerson: `argument-invalid`.
    """
    return _one_of(text, get_args(Kem), "--kem")


def suite_named(text: str) -> SuiteName:
    """The sealing suite called `text`.

    Raises:
        AskPerson: `argument-invalid`.
    """
    return _one_of(text, get_args(SuiteName), "--suite")


def seconds_from(text: str, option: str) -> float:
    """A span of time such as `12h` or `7d`, in seconds.

    Raises:
        AskPerson: `argument-invalid`.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise AskPerson("argument-invalid", argument=f"{option} {text}", detail="not-a-duration")
    return int(match[1]) * _HOUR_S * (24 if match[2] == "d" else 1)


def package_choice(
    *,
    full_only: bool,
    incremental: bool,
    baselines: Sequence[str] | None,
    archive_key: Path | None,
    jobs: int | None,
) -> PackageChoice:
    """Which packages are made.

    Raises:
        AskPerson: `argument-invalid`: options that contradict each other.
    """
    from modelota.repository.packages import PackageChoice

    if full_only and (incremental or baselines):
        raise AskPerson("argument-invalid", argument="--full-only", detail="contradicts")
    return PackageChoice(
        full_only=full_only,
        incremental=incremental,
        baselines=tuple(baselines) if baselines else None,
        archive_key=archive_key,
        workers=jobs,
    )


def _one_of(text: str, choices: tuple[T, ...], option: str) -> T:
    for choice in choices:
        if choice == text:
            return choice
    raise AskPerson("argument-invalid", argument=f"{option} {text}", detail="not-a-choice")
