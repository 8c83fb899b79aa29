"""Tests of modelota.repository.description."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import AskPerson, ModelotaError
from modelota.repository import toml
from modelota.repository.description import as_table, find_sources, parse_description
from modelota.spec.selftest import FunctionalTest

GOOD: dict[str, Any] = {
    "format": 1,
    "model": "acme/assistant",
    "version": "1.1.1",
    "kind": "feature",
    "notes": {"zh-CN": "首个版本。", "en": "First."},
    "permissions": ["microphone"],
    "device_models": ["hub-3"],
    "interfaces": [{"name": "chat", "version": 1}],
    "requires": {"memory_bytes": 1, "os": [{"family": "linux"}], "compute": {"cores": 2}},
    "self_tests": {
        "functional": [
            {"id": "capital", "prompt": "?", "check": {"kind": "contains", "values": ["Paris"]}, "core": True}
        ],
        "perplexity": {"text": "one two", "max": 40.0},
    },
    "provenance": {"base_model": "none"},
    "variants": [
        {"name": "q8", "files": [{"source": "m.gguf"}], "runtime": {"name": "llama.cpp", "entry": "m.gguf"}},
        {
            "name": "q4",
            "files": [{"source": "dir", "path": "sub"}],
            "runtime": {"name": "llama.cpp", "entry": "sub/m.gguf"},
            "requires": {"memory_bytes": 2},
            "self_tests": {
                "functional": [{"id": "own", "prompt": "!", "check": {"kind": "absent", "values": ["x"]}}],
                "perplexity": {"text": "one two", "max": 50.0},
            },
        },
    ],
}


def _with(**changes: Any) -> bytes:
    return toml.render(GOOD | changes).encode()


def test_a_good_description() -> None:
    """Variants inherit what is common: requirements as a whole, functional tests added, the rest replaced."""
    description = parse_description(_with(), "release.toml")
    q8, q4 = description.variants
    assert description.requires_of(q8).memory_bytes == 1
    assert description.requires_of(q4).memory_bytes == 2
    assert description.requires_of(q4).os == ()
    assert [test.id for test in description.tests_of(q4).functional] == ["capital", "own"]
    assert [description.tests_of(variant).perplexity.max for variant in (q8, q4)] == [40.0, 50.0]  # type: ignore[union-attr]  # both have one
    assert isinstance(description.tests_of(q8).functional[0], FunctionalTest)


def test_plain_data_and_back() -> None:
    """A description written out again is the same description."""
    description = parse_description(_with(), "release.toml")
    assert parse_description(toml.render(as_table(description)).encode(), "again.toml") == description


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"versoin": "1.1.1"}, "did you mean version"),
        ({"variants": [GOOD["variants"][0] | {"runtme": {}}]}, "variants.runtme"),
        ({"self_tests": {"performance": {"min_tokens": 1}}}, "self_tests.performance.min_tokens"),
        ({"requires": {"memory": 1}}, "requires.memory"),
        ({"format": 2}, "format"),
        ({"kind": "hotfix"}, "kind"),
        ({"model": "Assistant"}, "model"),
        ({"model": "a..b/c"}, "model name"),
        ({"notes": {"en": "x"}}, "notes: text in zh-CN"),
        ({"notes": {"en": " ", "zh-CN": "x"}}, "notes: text in en"),
        ({"notes": {"en": "x", "zh-CN": "x", "de": "x"}}, "notes"),
        ({"urgency": {"reason": GOOD["notes"]}}, "urgency"),
        ({"kind": "security", "urgency": {"reason": {"en": "x"}}}, "urgency.reason: text in zh-CN"),
        ({"variants": []}, "variants"),
        ({"variants": GOOD["variants"][:1] * 2}, "repeats"),
        ({"variants": [GOOD["variants"][0] | {"files": []}]}, "files"),
        ({"self_tests": GOOD["self_tests"] | {"functional": GOOD["self_tests"]["functional"] * 2}}, "id repeats"),
        ({"permissions": ["Microphone"]}, "permissions"),
    ],
)
def test_what_is_wrong_and_where(changes: dict[str, Any], detail: str) -> None:
    """Each mistake is refused with a detail that names it."""
    with pytest.raises(AskPerson) as caught:
        parse_description(_with(**changes), "release.toml")
    assert caught.value.code == "description-invalid"
    assert detail in str(caught.value.params["detail"])
    assert caught.value.params["path"] == "release.toml"


@pytest.mark.parametrize("name", ["format", "model", "version", "kind", "notes", "variants"])
def test_fields_that_must_be_there(name: str) -> None:
    """A missing field is named."""
    table = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(AskPerson) as caught:
        parse_description(toml.render(table).encode(), "release.toml")
    assert caught.value.code == "description-invalid"
    assert name in str(caught.value.params["detail"])


@pytest.mark.parametrize("version", ["1.0.0", "01.1.1", "1.1", "v1.1.1"])
def test_versions(version: str) -> None:
    """A malformed version has its own code, with the rule it breaks."""
    with pytest.raises(AskPerson) as caught:
        parse_description(_with(version=version), "release.toml")
    assert caught.value.code == "version-invalid"


def test_every_variant_can_prove_itself() -> None:
    """A variant without any self-test, its own or common, is refused by name."""
    with pytest.raises(AskPerson) as caught:
        parse_description(_with(self_tests={}), "release.toml")
    assert caught.value.code == "self-test-missing"
    assert caught.value.params == {"variant": "q8"}


@pytest.mark.parametrize(
    "data",
    [
        "model = 'größe'".encode("utf-16"),
        "model = 'größe'".encode("latin-1"),
        b"\xef\xbb\xbfformat = 1",
        b"format = 1\nformat = 1",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b"#" * (1 << 21),
        b"",
    ],
)
def test_not_toml(data: bytes) -> None:
    """Other encodings, broken syntax, absurd sizes and depths: refused, never a crash."""
    with pytest.raises(AskPerson) as caught:
        parse_description(data, "release.toml")
    assert caught.value.code == "description-invalid"


_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5), st.just("1.1.1"))
_TREES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "files",
                    "source",
                    "path",
                    "runtime",
                    "entry",
                    "functional",
                    "check",
                    "id",
                    "zh-CN",
                    "en",
                    "format",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "urgency", "fixes", "predecessor", "other"]), _TREES, max_size=4))
def test_any_change_is_accepted_or_refused_with_a_code(changes: dict[str, Any]) -> None:
    """Whatever stands in place of a field, the answer is a description or an error that asks the person."""
    try:
        data = _with(**changes)
    except TypeError:  # null has no form in TOML
        return
    try:
        parse_description(data, "release.toml")
    except AskPerson as error:
        assert error.code in {"description-invalid", "version-invalid", "self-test-missing"}


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Random bytes never become a description."""
    with pytest.raises(AskPerson):
        parse_description(data, "release.toml")


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_any_changed_byte(position: int, value: int) -> None:
    """One changed byte gives a description or a coded error."""
    data = bytearray(_with())
    data[position % len(data)] = value
    try:
        parse_description(bytes(data), "release.toml")
    except ModelotaError as error:
        assert error.branch == "ask-person"


def _sources(directory: Path, **changes: Any) -> dict[str, list[str]]:
    description = parse_description(_with(**changes), "release.toml")
    found = find_sources(description, directory, "release.toml")
    return {variant.name: [path for path, _ in variant.files] for variant in found}


def _files(directory: Path) -> None:
    (directory / "m.gguf").write_bytes(b"model")
    (directory / "dir" / "deep").mkdir(parents=True)
    (directory / "dir" / "deep" / "b.json").write_bytes(b"{}")
    (directory / "dir" / ".hidden").write_bytes(b"secret")
    (directory / "dir" / "m.gguf").symlink_to(directory / "m.gguf")


def test_files_and_directories_are_found(tmp_path: Path) -> None:
    """A directory contributes its files with links followed, in order; hidden ones are left out."""
    _files(tmp_path)
    assert _sources(tmp_path) == {"q8": ["m.gguf"], "q4": ["sub/deep/b.json", "sub/m.gguf"]}


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing, empty, special, doubled and unsafe sources each have their code."""
    _files(tmp_path)

    def code(files: list[dict[str, str]], entry: str = "m.gguf") -> str:
        variant = {"name": "q8", "files": files, "runtime": {"name": "llama.cpp", "entry": entry}}
        with pytest.raises(AskPerson) as caught:
            _sources(tmp_path, variants=[variant])
        return caught.value.code

    (tmp_path / "nothing").mkdir()
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "m.gguf").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert code([{"source": "absent.gguf"}]) == "model-unreadable"
    assert code([{"source": "dangling"}]) == "model-unreadable"
    assert code([{"source": "pipe"}]) == "model-unreadable"
    assert code([{"source": "loop"}]) == "model-unreadable"
    assert code([{"source": "nothing"}]) == "model-empty"
    assert code([{"source": "zero"}]) == "model-empty"
    assert code([{"source": "m.gguf"}, {"source": "dir/m.gguf", "path": "M.GGUF"}]) == "description-invalid"
    assert code([{"source": "m.gguf", "path": "../m.gguf"}]) == "description-invalid"
    assert code([{"source": "m.gguf"}], entry="other.gguf") == "description-invalid"
