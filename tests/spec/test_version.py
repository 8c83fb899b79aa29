"""Version numbers: three positive integers, in order, lower parts restarting (clause 6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import AskPerson
from modelota.spec.version import FIRST, Version

PART = st.integers(1, 999_999_999)
VERSION = st.builds(Version, PART, PART, PART)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("1.0.0", "not-positive"),
        ("0.1.1", "not-positive"),
        ("1.1.0", "not-positive"),
        ("01.1.1", "leading-zero"),
        ("1.01.1", "leading-zero"),
        ("1.1.00", "leading-zero"),
        ("1.1", "form"),
        ("1.1.1.1", "form"),
        ("v1.1.1", "form"),
        ("1.1.1 ", "form"),
        ("1.1.1\n", "form"),
        ("-1.1.1", "form"),
        ("1.1.1-rc1", "form"),
        ("١.١.١", "form"),
        ("", "form"),
        ("1.1.1234567890", "too-large"),
    ],
)
def test_what_is_refused_and_why(text: str, detail: str) -> None:
    """Each way to be wrong has its own reason."""
    with pytest.raises(AskPerson) as caught:
        Version.parse(text)
    assert caught.value.code == "version-invalid"
    assert caught.value.params["detail"] == detail


@given(VERSION)
def test_text_and_version_are_the_same_thing(version: Version) -> None:
    """What is printed reads back equal."""
    assert Version.parse(str(version)) == version


@given(st.text(max_size=20))
def test_nothing_else_gets_through(text: str) -> None:
    """Arbitrary text is a canonical version or an error."""
    try:
        assert str(Version.parse(text)) == text
    except AskPerson as error:
        assert error.code == "version-invalid"


@given(VERSION, VERSION)
def test_order_is_numeric(one: Version, other: Version) -> None:
    """Versions are ordered by their numbers, not by their text."""
    assert (one < other) == ((one.major, one.minor, one.patch) < (other.major, other.minor, other.patch))


@given(VERSION, st.sampled_from(["major", "minor", "patch"]))
def test_steps_restart_lower_parts(version: Version, step: str) -> None:
    """The next version of a step has lower parts 1, and is that step away."""
    following = version.next(step)
    assert following.step_from(version) == step
    assert following > version


def test_steps_that_do_not_restart_are_refused() -> None:
    """1.2.2 after 1.1.1 and 2.1.2 after 1.1.1 do not restart their lower parts at 1."""
    for text in ("1.2.2", "2.1.2", "2.2.1"):
        with pytest.raises(AskPerson) as caught:
            Version.parse(text).step_from(FIRST)
        assert caught.value.params["detail"] == "restart"
    with pytest.raises(AskPerson) as caught:
        FIRST.step_from(FIRST)
    assert caught.value.params["detail"] == "not-newer"
