"""Every error code has its three sentences in both languages: what happened, how it is now, what to do.

All codes are rendered in all states, with the parameters that `modelota.errors` names for them and without any.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

from modelota import errors
from modelota.errors import CODES
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.errors import REQUIREMENTS, RenderedError, render_error
from modelota.i18n.phases import GATES, PHASES
from modelota.i18n.sentences import SENTENCES
from modelota.i18n.sentences.now import NOW
from modelota.i18n.texts import texts_for, width

# A code with its branch and its parameters, in a comment behind it, or above where they are many.
_CODE = re.compile(r'(?:^    # (.*)\n)?^    "([a-z0-9-]+)": "[a-z-]+",(?:  # (.*))?$', re.MULTILINE)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SPOKEN = {
    "en": re.compile(r"[.!?][”)]*$|\. \(Detail: .*\)$"),
    "zh-CN": re.compile(r"[。！？][”）]*$|。（详情：.*）$"),
}
_PLACE = re.compile(r"[{}]|\bNone\b|\(\)|（）|“”|%\(")
_MUDDLED = {
    "en": re.compile(r"\.\.(?!\.)|  | [,.;:!?]|[，。；：！？（）]"),
    # half-width stops between Chinese characters, doubled stops, blanks before a stop
    "zh-CN": re.compile(r"。。|，，|[\u4e00-\u9fff][,;:!?]|[,;:!?][\u4e00-\u9fff]| [，。；：！？]|[，。；：！？] "),
}
# A terminal of 80 columns shows each sentence in a few lines, and a phone in not many more.
_COLUMNS_MAX = {"what": 420, "now": 200, "remedy": 320}

# Names that are the same in Chinese, besides what stands in quotation marks and looks like a path, an option or a unit.
_NAMES = re.compile(
    r"\b(modelota|root|systemd|localhost|https?|bearer|sudo|true|hook|notifications|terminal|Unix|Ollama|safetensors|pickle|blobs"
    r"|manifests|Hugging|Face)\b|\b\w+(-\w+)+\b"
)
_NO_WORDS = re.compile(r"“[^”]*”|[\w./-]*[./_][\w./-]*|--[a-z-]+|\b[A-Z0-9_]+\b|\b[0-9.]+ ?[A-Za-z]+(/s)?\b")


def documented() -> dict[str, tuple[str, ...]]:
    """The parameters of every code, as the comments beside it name them."""
    source = Path(errors.__file__).read_text(encoding="utf-8")
    found = {}
    for above, code, behind in _CODE.findall(source):
        names = (behind or above).partition(":")[0].partition("(")[0]
        found[code] = tuple(name.strip() for name in names.split(",") if name.strip().isidentifier())
    return found


DOCUMENTED = documented()

_VALUES: Mapping[str, object] = {
    "seconds": 120,
    "duration_s": 420.0,
    "mode": 0o755,
    "findings": 3,
    "uid": 1000,
    "waits_for": ("charging", "inhibitor:7"),
    "phase": "fetching",
    "requirement": "memory",
    "percent": 95,
    "share_percent": 12,
    "before_percent": 1,
    "status": 503,
    "frame": 7,
    "limit": 100,
    "found": 7,
    "known": 6,
    "need": 8,
    "have": 1,
    "entries": 3,
    "requests": 2,
    "id": "7",
}


def value_of(name: str) -> object:
    """A value that reads the same in every language."""
    if name in _VALUES:
        return _VALUES[name]
    if name.endswith("_bytes"):
        return 5_000_000_000
    if name.endswith("_at") or name in {"device_time", "floor", "until"}:
        return "2026-11-24T06:00:00Z"
    if name in {"path", "url"}:
        return "/1/2"
    return "1.1.2"


def variants(code: str) -> Iterator[dict[str, object]]:
    """Parameters with which a code is met: all that are documented, each known detail, each phase and requirement."""
    whole = {name: value_of(name) for name in DOCUMENTED[code] if name != "detail"}
    yield whole
    for detail in SENTENCES[code].details:
        yield {**whole, "detail": detail}
    if "detail" in DOCUMENTED[code]:
        yield {**whole, "detail": "7"}
    for name, choices in (("phase", PHASES), ("requirement", REQUIREMENTS)):
        if name in whole:
            yield from ({**whole, name: choice} for choice in choices)
    if "waits_for" in whole:
        yield {**whole, "waits_for": tuple(GATES)}


def rendered(language: Language, *, with_params: bool) -> Iterator[tuple[str, RenderedError]]:
    """Every code in every state, named."""
    versions = {"version": "1.1.1", "path": "/1/2"}
    for code, now in product(sorted(CODES), NOW):
        for params in variants(code) if with_params else ({},):
            state = versions if with_params else {}
            yield f"{code} {params} {now}", render_error(code, params, language, now, state)


def flaws(told: RenderedError, language: Language) -> Iterator[str]:
    """What is wrong with an error's sentences."""
    for part in ("what", "now", "remedy"):
        text: str = getattr(told, part)
        if not text or not _SPOKEN[language].search(text):
            yield f"{part} does not end as a sentence: {text}"
        if _PLACE.search(text):
            yield f"{part} has a place left: {text}"
        if _MUDDLED[language].search(text):
            yield f"{part} has wrong stops: {text}"
        if width(text) > _COLUMNS_MAX[part]:
            yield f"{part} is too long ({width(text)}): {text}"
        if language == "en":
            if _CHINESE.search(text):
                yield f"{part} has Chinese in it: {text}"
            if text[:1].islower() and not text.startswith("modelota "):
                yield f"{part} begins small: {text}"
        else:
            if not _CHINESE.search(text):
                yield f"{part} is not Chinese: {text}"
            words = set(re.findall(r"[A-Za-z]{2,}", _NO_WORDS.sub(" ", _NAMES.sub(" ", text))))
            if words:
                yield f"{part} has English in it ({', '.join(sorted(words))}): {text}"


def complaints(language: Language, *, with_params: bool) -> list[str]:
    """Each flaw once, with the first error that has it."""
    found: dict[str, str] = {}
    for name, told in rendered(language, with_params=with_params):
        for flaw in flaws(told, language):
            found.setdefault(flaw, name)
    return [f"{flaw}  [{name}]" for flaw, name in found.items()]


def test_every_code_names_its_parameters() -> None:
    """The comments can be read: all codes are there, and the places of every sentence are parameters of its code."""
    assert set(DOCUMENTED) == set(CODES)
    missing = {}
    for code, sentence in SENTENCES.items():
        templates = (sentence.what, sentence.remedy, *sentence.details.values())
        places = {name for text in templates for _, name, _, _ in string.Formatter().parse(text) if name}
        if places - {*DOCUMENTED[code]}:
            missing[code] = places - {*DOCUMENTED[code]}
    assert missing == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message(language: Language) -> None:
    """All codes in all states are whole sentences of one language, of a length that a person reads."""
    assert complaints(language, with_params=True) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_without_its_parameters(language: Language) -> None:
    """An error that lost its parameters on the way still is three whole sentences."""
    assert complaints(language, with_params=False) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_known_reads_as_unknown(language: Language) -> None:
    """With its documented parameters no message says “unknown” where the value was given."""
    unknown = texts_for(language).unknown
    for code in sorted(CODES):
        for params in variants(code):
            bare = render_error(code, {}, language)
            told = render_error(code, params, language)
            for part in ("what", "remedy"):
                # a sentence that is about something unknown says so with and without parameters
                excess = getattr(told, part).count(unknown) - template_count(code, unknown, language)
                assert excess <= 0 or getattr(bare, part) == getattr(told, part), (code, params, told)


def template_count(code: str, word: str, language: Language) -> int:
    """How often a code's own sentences have a word."""
    texts = texts_for(language)
    sentence = SENTENCES[code]
    return sum(
        texts._translations.gettext(text).count(word)
        for text in (sentence.what, sentence.remedy, *sentence.details.values())
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_differs(language: Language) -> None:
    """No two states are told in the same words, so nobody is told a state that they are not in."""
    told = [render_error("no-offer", {}, language, now, {"version": "1.1.1", "path": "/1/2"}).now for now in NOW]
    assert len(set(told)) == len(NOW)


def test_both_languages_have_the_same_places() -> None:
    """What a sentence names in English it names in Chinese too: no fact is lost in translation."""
    chinese = texts_for("zh-CN")
    lost = []
    for text in {
        *NOW.values(),
        *(each for s in SENTENCES.values() for each in (s.what, s.remedy, *s.details.values())),
    }:
        places = [
            sorted(name for _, name, _, _ in string.Formatter().parse(form) if name)
            for form in (text, chinese._translations.gettext(text))
        ]
        if places[0] != places[1]:
            lost.append((text, places))
    assert lost == []
