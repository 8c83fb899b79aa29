"""Every code is rendered in every language, whatever its parameters."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import CODES
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.errors import error_lines, render_error
from modelota.i18n.sentences import SENTENCES
from modelota.i18n.sentences.now import NOW

ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(max_size=5), max_size=3)


def test_every_code_has_a_sentence() -> None:
    """The tables and the registry of codes are in step."""
    assert set(SENTENCES) == set(CODES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", sorted(CODES))
def test_renders_without_parameters(code: str, language: Language) -> None:
    """An error that lost its parameters still says something whole."""
    rendered = render_error(code, {}, language)
    assert rendered.code == code
    for text in rendered[1:]:
        assert text
        assert "{" not in text
        assert text[-1] in (".。)）”」" if language == "en" else "。）")


@given(code=st.sampled_from(sorted(CODES)), params=st.dictionaries(st.text(max_size=12), ANY, max_size=6))
def test_hostile_parameters_never_break(code: str, params: dict[str, object]) -> None:
    """Parameters of any kind and name are rendered without control characters."""
    for language in LANGUAGES:
        rendered = render_error(code, params, language, "serving", params)
        assert not any(ord(char) < 32 for text in rendered for char in text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_enumerated_details_are_sentences(language: Language) -> None:
    """A detail with a meaning of its own becomes a sentence; any other is given as it is."""
    told = render_error("version-invalid", {"text": "1.0.0", "detail": "not-positive"}, language)
    assert "not-positive" not in told.what
    assert "1.1.1" in told.what
    assert "ECONNRESET" in render_error("network-interrupted", {"url": "x", "detail": "ECONNRESET"}, language).what


def test_units_in_parameters() -> None:
    """Sizes, spans and times are rendered by the name of their parameter."""
    told = render_error("no-space", {"path": "/data", "need_bytes": 5_000_000_000, "free_bytes": 0}, "en")
    assert told.what == "There is too little free space at /data: 5.0 GB are needed, 0 B are free."
    assert "2 minutes" in render_error("engine-timeout", {"slot": "1.1.1+q8", "seconds": 120}, "en").what
    assert "mode 0755" in render_error("root-not-private", {"path": "/r", "mode": 0o755}, "en").what


def test_state_sentences() -> None:
    """The second sentence is the state that was reported; an unknown one is not guessed."""
    assert render_error("no-space", {}, "en", "serving", {"version": "1.1.1"}).now.startswith("Version 1.1.1")
    assert render_error("no-space", {}, "en", "paused").now == NOW["paused"]
    assert render_error("no-space", {}, "en", "from-the-future").now == NOW["unknown"]
    assert render_error("no-space", {}, "en", "").now == NOW["unknown"]


def test_unknown_code() -> None:
    """A code of a newer peer is named."""
    rendered = render_error("quantum-flux", {"x": 1}, "en")
    assert rendered.code == "unknown-code"
    assert "quantum-flux" in rendered.what


def test_templates_use_plain_names_only() -> None:
    """No template reaches into a value: places are names, without attributes, indexes or formats."""
    for sentence in SENTENCES.values():
        for template in (sentence.what, sentence.remedy, *sentence.details.values(), *NOW.values()):
            for _, name, form, conversion in string.Formatter().parse(template):
                assert name is None or (name.isidentifier() and not form and conversion is None)


def test_lines() -> None:
    """A terminal shows four labelled lines."""
    lines = error_lines(render_error("no-offer", {"model": "acme/assistant"}, "en"), "en")
    assert [line.split("  ")[0] for line in lines] == ["What happened", "State now", "What to do", "Code"]
    assert lines[3].endswith("no-offer")
