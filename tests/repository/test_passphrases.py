"""Tests of modelota.repository.passphrases."""

import os

import pytest

from modelota.errors import AskPerson
from modelota.repository.passphrases import Passphrases


def _descriptor(text: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    return reader


def test_a_keys_own_variable_comes_first() -> None:
    """The variable of one key beats the general one; names are spelled in capitals with underscores."""
    environ = {"MODELOTA_PASSPHRASE": "for all", "MODELOTA_PASSPHRASE_ACME_ASSISTANT_RELEASES_1": "for one"}
    passphrases = Passphrases(environ=environ)
    assert passphrases.existing("acme..assistant-releases-1") == b"for one"
    assert passphrases.existing("root-1") == b"for all"


def test_a_descriptor_holds_one_for_all_or_one_per_key() -> None:
    """Lines `name=passphrase` are for single keys, any other line for all; the descriptor is read once."""
    passphrases = Passphrases(environ={}, descriptor=_descriptor(b"root-1=a=b\nother\n"))
    assert passphrases.existing("root-1") == b"a=b"
    assert passphrases.existing("targets-1") == b"other"
    assert passphrases.existing("root-1") == b"a=b"


def test_the_prompt_is_asked_last_and_told_what_for() -> None:
    """A person is asked only when nothing else knows, and told whether the passphrase is a new one."""
    asked = []

    def prompt(key: str, new: bool) -> str:
        asked.append((key, new))
        return "from a person"

    passphrases = Passphrases(prompt=prompt, environ={"MODELOTA_PASSPHRASE_ROOT_1": "known here"})
    assert passphrases.existing("root-1") == b"known here"
    assert passphrases.new("targets-1") == b"from a person"
    assert asked == [("targets-1", True)]


@pytest.mark.parametrize("prompt", [None, lambda _key, _new: None, lambda _key, _new: ""])
def test_nobody_knows(prompt: object) -> None:
    """Without any source, or with an empty answer, the passphrase is missing."""
    with pytest.raises(AskPerson) as caught:
        Passphrases(prompt=prompt, environ={}).existing("root-1")  # type: ignore[arg-type]  # one of three callables
    assert caught.value.code == "passphrase-missing"
    assert caught.value.params == {"key": "root-1"}


def test_a_new_passphrase_must_not_be_short() -> None:
    """Seven characters are refused for a new key, and accepted for an old one."""
    passphrases = Passphrases(environ={"MODELOTA_PASSPHRASE": "seven77"})
    assert passphrases.existing("root-1") == b"seven77"
    with pytest.raises(AskPerson) as caught:
        passphrases.new("root-1")
    assert caught.value.code == "argument-invalid"


def test_a_descriptor_that_is_none() -> None:
    """A closed descriptor is an argument error, not a missing passphrase."""
    descriptor = _descriptor(b"")
    os.close(descriptor)
    with pytest.raises(AskPerson) as caught:
        Passphrases(environ={}, descriptor=descriptor).existing("root-1")
    assert caught.value.code == "argument-invalid"
