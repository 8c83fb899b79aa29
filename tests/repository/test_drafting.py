"""Tests of modelota.repository.drafting."""

from typing import Any

import pytest

from modelota.errors import AskPerson
from modelota.repository.description import parse_description
from modelota.repository.drafting import Findings, describe_model, draft_text, new_release
from modelota.repository.workspace import Workspace


def _fill_in(text: str) -> bytes:
    return text.replace('zh-CN = ""', 'zh-CN = "有"', 1).replace('en = ""', 'en = "is"', 1).encode()


def test_a_first_draft_lacks_only_its_notes(press: Any, shop: Workspace) -> None:
    """A draft is refused until someone wrote the notes in both languages; then it is a description."""
    path = new_release(shop, "1.1.1", directory=press.directory)
    assert path == press.directory / "1.1.1" / "release.toml"
    with pytest.raises(AskPerson) as caught:
        parse_description(path.read_bytes(), str(path))
    assert "notes" in str(caught.value.params["detail"])
    assert parse_description(_fill_in(path.read_text()), str(path)).version == "1.1.1"


def test_a_draft_takes_over_from_a_release(press: Any, shop: Workspace) -> None:
    """Everything but the notes comes from the published manifest; the draft names its predecessor."""
    tests = {"functional": [{"id": "a", "prompt": '"', "check": {"kind": "equals", "values": ["ä\\"]}, "core": True}]}
    source = press.describe("1.1.1", self_tests=tests, permissions=["microphone"], provenance={"data": "tales"})
    press.publish(shop, source)
    press.publish(shop, press.describe("1.1.2", self_tests=tests))
    path = new_release(shop, "1.2.1", from_version="1.1.1", directory=press.directory)
    draft = parse_description(_fill_in(path.read_text()), str(path))
    first = parse_description(source.read_bytes(), "x")
    assert draft.predecessor == "1.1.1"
    assert (draft.permissions, draft.interfaces, draft.provenance) == (
        first.permissions,
        first.interfaces,
        first.provenance,
    )
    assert draft.tests_of(draft.variants[0]) == first.tests_of(first.variants[0])
    assert draft.variants[0].runtime == first.variants[0].runtime


def test_drafts_that_cannot_be_made(press: Any, shop: Workspace) -> None:
    """A bad version, an unknown predecessor, a file in the way."""
    for version, options, code in (
        ("1.0.0", {}, "version-invalid"),
        ("1.1.2", {"from_version": "1.1.1"}, "version-order"),
        ("1.1.1", {"model": "acme/other"}, "argument-invalid"),
    ):
        with pytest.raises(AskPerson) as caught:
            new_release(shop, version, directory=press.directory, **options)  # type: ignore[arg-type]  # from a table
        assert caught.value.code == code
    new_release(shop, "1.1.1", directory=press.directory)
    with pytest.raises(AskPerson) as caught:
        new_release(shop, "1.1.1", directory=press.directory)
    assert caught.value.code == "repository-exists"


def test_what_files_say_stays_a_comment() -> None:
    """A line break in a header ends no comment, so that a file cannot write fields of the description."""
    text = draft_text("acme/assistant", "1.1.1", None, Findings(('q8: name: a\nfixes = ["M-1"]', "b\rkind_of"), {}, ()))
    assert not [line for line in text.splitlines() if line.startswith(("fixes", "kind_of"))]


def test_a_bare_model(press: Any) -> None:
    """A GGUF file runs under llama.cpp, a split one by its first part, anything else under the owner's command."""
    single = press.file("a/model.gguf")
    description, directory = describe_model(single, "my/model", "1.1.1", None)
    assert directory == single.parent
    assert description.variants[0].runtime.name == "llama.cpp"
    assert description.tests_of(description.variants[0]).performance is not None
    press.file("b/m-00001-of-00002.gguf")
    press.file("b/m-00002-of-00002.gguf")
    split, _ = describe_model(press.directory / "b", "my/model", "1.1.1", None)
    assert split.variants[0].runtime.entry == "m-00001-of-00002.gguf"
    other, _ = describe_model(press.file("c/weights.bin"), "my/model", "1.1.1", None)
    assert (other.variants[0].runtime.name, other.variants[0].runtime.profile) == ("command", "default")


def test_bare_models_that_are_none(press: Any) -> None:
    """An empty directory, and one with several models."""
    (press.directory / "empty").mkdir()
    press.file("two/a.gguf")
    press.file("two/b.gguf")
    for name, code in (("empty", "model-empty"), ("two", "description-invalid")):
        with pytest.raises(AskPerson) as caught:
            describe_model(press.directory / name, "my/model", "1.1.1", None)
        assert caught.value.code == code
