"""Releases to publish come from the example family, from a given file, or are made for the occasion."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelota.conformance.releases import find_family, standin
from modelota.errors import AskPerson
from modelota.repository import toml
from modelota.repository.description import find_sources, parse_description


def test_the_example_family_is_found(tmp_path: Path) -> None:
    """A source tree has it: three releases that follow each other, the second an urgent security fix."""
    family = find_family(None, tmp_path)
    assert [table["version"] for table in (family.first, family.better, family.bad)] == ["1.1.1", "1.1.2", "1.1.3"]
    assert family.better["kind"] == "security"
    assert all(path.is_file() for path in family.plain(family.first))


@pytest.mark.parametrize("given", ["example", "file"])
def test_descriptions_are_accepted(tmp_path: Path, family: Path, given: str) -> None:
    """The publisher's parser takes every table that the room would publish."""
    found = find_family(None if given == "example" else family / "1.1.1" / "assistant-q8.gguf", tmp_path)
    tables = [found.first, found.better, found.bad]
    tables += [standin(tmp_path, "a/b", ballast_bytes=10, requires={"memory_bytes": 1}, perplexity=True)]
    for table in tables:
        description = parse_description(toml.render(table).encode(), "test")
        assert find_sources(description, tmp_path, "test")


def test_something_else_is_no_family(tmp_path: Path) -> None:
    """A directory without releases is refused, and the option is named."""
    with pytest.raises(AskPerson) as caught:
        find_family(tmp_path, tmp_path)
    assert (caught.value.code, caught.value.params["argument"]) == ("argument-invalid", "--model")


def test_related_versions_share_most_of_their_ballast(tmp_path: Path) -> None:
    """About one byte in sixteen is a version's own; the ballast of another version is just that."""

    def ballast(version: str, ballast_of: str | None = None) -> bytes:
        standin(tmp_path, "a/b", version, ballast_bytes=64_000, related=True, ballast_of=ballast_of)
        return (tmp_path / "a-b" / version / "ballast.bin").read_bytes()

    one, two, same = ballast("1.1.1"), ballast("1.1.2"), ballast("1.2.1", "1.1.2")
    apart = sum(a != b for a, b in zip(one, two, strict=True))
    assert 64_000 / 20 < apart < 64_000 / 7
    assert two == same


def test_the_line_of_the_example_family(tmp_path: Path) -> None:
    """Every release but the bad one, in order."""
    versions = [table["version"] for table in find_family(None, tmp_path).line]
    assert versions == ["1.1.1", "1.1.2", "1.2.1", "2.1.1"]
