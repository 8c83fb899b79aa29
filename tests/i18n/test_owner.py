"""Words for what the agent names by codes: versions, answers, people."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelota.i18n import LANGUAGES, Language
from modelota.i18n.owner import (
    ANSWER_STATES,
    CHANNELS,
    CONDITIONS,
    INTERFACES,
    answer_state,
    answered,
    authority_name,
    channel_name,
    condition_name,
    interface_name,
    version_effect,
)

Name = Callable[[str, Language], str]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (channel_name, CHANNELS),
        (answer_state, ANSWER_STATES),
        (condition_name, CONDITIONS),
        (interface_name, INTERFACES),
        (version_effect, ("active", "previous", "kept", "sealed", "available", "withdrawn")),
    ],
)
def test_every_code_has_words_in_both_languages(name: Name, known: tuple[str, ...]) -> None:
    """A known code is said in words, differently in each language; a later one is given by name, made safe."""
    for code in known:
        words = {name(code, language) for language in LANGUAGES}
        assert len(words) == len(LANGUAGES)
        assert code != name(code, "zh-CN")
    assert name("new\x1b[2J", "en") == "new�[2J"


def test_a_version_that_is_available_is_newer_or_older() -> None:
    """Only what is older is a way back, and takes a download."""
    assert "downloads" in version_effect("available", "en", older=True)
    assert "newer" in version_effect("available", "en", older=False)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("uid:1000", "you"),
        ("uid:0", "the administrator"),
        ("uid:1001", "li"),
        ("embedding-host", "the program that the agent is a part of"),
        ("", "the device itself"),
        ("key:\x1b5", "key:�5"),
    ],
)
def test_people_are_named(authority: str, expected: str) -> None:
    """One's own answers are one's own; other users by the name they have on this system, or by number."""
    assert authority_name(authority, "en", own="uid:1000", user="li") == expected
    assert authority_name("uid:1001", "en") == "user number 1001"
    assert authority_name("uid:1001", "zh-CN") == "用户 1001"


def test_answers_name_what_they_answered() -> None:
    """An answer to an uninstallation is not one to the version that went; what is unknown reads as an update."""
    assert answered("accept", "uninstall", "1.1.1", "en") == "“accept” to uninstalling 1.1.1"
    assert answered("skip", "update", "1.1.2", "zh-CN") == "版本 1.1.2：跳过此版本"
    assert answered("accept", None, "1.1.2", "en") == answered("accept", "levitate", "1.1.2", "en")
