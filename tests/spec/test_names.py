"""Names that become paths."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import RefuseContent
from modelota.spec.names import is_digest, is_model, is_name, safe_path

HOSTILE = [
    "",
    "/etc/passwd",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "a\\b",
    "C:a",
    "a\0b",
    "a\nb",
    "a\u202eb",
    "con",
    "aux.txt",
    "a/NUL/b",
    "dot.",
    "space ",
    "e\u0301",
    "x" * 256,
    "a/" * 300 + "b",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_paths_are_refused(text: str) -> None:
    """Absolute, climbing, special, unprintable, over-long and non-normalised paths are refused."""
    with pytest.raises(RefuseContent) as caught:
        safe_path(text)
    assert caught.value.code == "unsafe-path"


@pytest.mark.parametrize("text", ["model.gguf", "a/b/c.bin", "模型/权重.bin", "é.bin", ".hidden", "a b.txt"])
def test_ordinary_paths_pass(text: str) -> None:
    """Ordinary names, Chinese ones included, pass unchanged."""
    assert safe_path(text) == PurePosixPath(text)


@given(st.text(max_size=60))
def test_what_passes_stays_below(text: str) -> None:
    """Whatever passes is relative, and joining it to a directory stays below that directory."""
    try:
        path = safe_path(text)
    except RefuseContent:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert str(PurePosixPath("/slot") / path).startswith("/slot/")


@pytest.mark.parametrize("text", ["a/b", "acme/assistant-2", "a.b/c_d"])
def test_models(text: str) -> None:
    """A model is vendor and product."""
    assert is_model(text)


@pytest.mark.parametrize("text", ["a", "/a", "a/", "a/b/c", "A/b", "a/..", "../a", "-a/b", "a/b-", "a..b/c", "a/b\n"])
def test_not_models(text: str) -> None:
    """Anything that could be another path is not a model name."""
    assert not is_model(text)


def test_names_and_digests() -> None:
    """Variant names and digests have one form."""
    assert is_name("q8")
    assert not is_name("Q8")
    assert not is_name("a/b")
    assert not is_name("x" * 65)
    assert is_digest("a" * 64)
    assert not is_digest("A" * 64)
    assert not is_digest("a" * 63)
