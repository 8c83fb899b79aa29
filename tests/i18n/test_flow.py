"""Progress, outcomes and tables as people read them."""

from __future__ import annotations

import typing
from types import SimpleNamespace

import pytest

from modelota.i18n import LANGUAGES, Language
from modelota.i18n.flow import (
    progress_line,
    render_outcome,
    self_test_lines,
    state_after,
    version_cells,
    version_headings,
)
from modelota.i18n.phases import GATES, HOLDERS, PHASES, engine_name, gate_name, phase_name, step_name
from modelota.spec import api


def _outcome(result: str, operation: str = "update", error: api.ErrorBody | None = None) -> api.Outcome:
    return api.Outcome(
        operation=operation,  # type: ignore[arg-type]  # the tests name real operations
        result=result,  # type: ignore[arg-type]  # and results
        from_version="1.1.1",
        to_version="1.1.2",
        active_version="1.1.2" if result == "done" else "1.1.1",
        error=error,
        finished_at="2026-11-24T06:00:00Z",
    )


def test_every_phase_has_a_name() -> None:
    """The names and the phases of the socket interface are in step."""
    assert set(PHASES) == set(typing.get_args(api.Phase))


@pytest.mark.parametrize("language", LANGUAGES)
def test_unknown_names_are_given_as_they_are(language: Language) -> None:
    """A newer agent may name phases, gates and engine states that this version does not know."""
    assert phase_name("dreaming", language) == "dreaming"
    assert gate_name("lunch\x1b", language) == "lunch�"
    assert engine_name("purring", language) == "purring"
    assert all(gate_name(gate, language) != gate for gate in GATES)


def test_progress() -> None:
    """Step, bytes, rate and time left; what is unknown is left out."""
    progress = api.Progress(step="fetching", done=19_000_000, total=38_000_000, rate_per_s=3.2e6, left_s=300.0)
    assert progress_line(progress, "en") == "downloading · 19 MB of 38 MB (50 %) · 3.2 MB/s · about 5 minutes left"
    assert progress_line(progress, "zh-CN") == "正在下载 · 19 MB / 38 MB（50 %） · 3.2 MB/s · 剩余约 5 分钟"
    assert progress_line(api.Progress(step="verifying", done=0), "en") == "verifying"
    assert progress_line(api.Progress(step="deploying", done=5), "en") == "installing · 5 B"
    testing = api.Progress(step="testing", done=2, total=5)
    assert progress_line(testing, "en") == "testing the new version · test 2 of 5"
    removing = api.Progress(step="removing", done=1, total=3, rate_per_s=2.0)
    assert progress_line(removing, "en") == f"{phase_name('removing', 'en')} · 33 %"


@pytest.mark.parametrize("operation", ["install", "update", "rollback"])
@pytest.mark.parametrize("result", ["done", "failed", "cancelled"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_ending_has_a_sentence(operation: str, result: str, language: Language) -> None:
    """Each operation ends in three ways, each with a sentence of its own."""
    sentence = render_outcome(_outcome(result, operation), language).sentence
    assert "1.1.2" in sentence
    assert sentence[-1] in ".。"


def test_failure_has_three_sentences_and_a_code() -> None:
    """What happened, how the device is now, what to do."""
    error = api.ErrorBody(
        code="self-test-failed", params={"test": "units"}, now="returned", now_params={"version": "1.1.1"}
    )
    rendered = render_outcome(_outcome("failed", error=error), "zh-CN")
    assert rendered.error is not None
    assert rendered.error.what == "新版本未通过本设备上的自检“units”。"
    assert rendered.error.now == "设备已回到版本 1.1.1，正在使用。"
    assert rendered.error.remedy.startswith("无需操作。")
    assert rendered.error.code == "self-test-failed"


def test_state_is_read_from_the_outcome_where_nobody_told_it() -> None:
    """An error without a state takes it from the versions."""
    error = api.ErrorBody(code="no-space")
    rendered = render_outcome(_outcome("failed", error=error), "en")
    assert rendered.error is not None
    assert rendered.error.now == "Version 1.1.1 stays in use and works as before."
    assert state_after(_outcome("done")) == ("updated", {"version": "1.1.2"})


def test_version_cells() -> None:
    """One cell per heading, whatever is unknown."""
    view = api.VersionView(version="1.1.1", variant=None, state="withdrawn", failed=True, notes={"en": "A\nB"})
    for language in LANGUAGES:
        assert len(version_cells(view, language)) == len(version_headings(language))
    assert version_cells(view, "en") == ("1.1.1", "–", "withdrawn, failed here", "–", "–", "–", "A")


def test_self_tests() -> None:
    """Each test with its result; figures where there are any; an unknown result as it is."""
    results = [
        SimpleNamespace(test="units", result="passed", figure=None, limit=None, unit=""),
        SimpleNamespace(test="speed", result="failed", figure=3.25, limit=5.0, unit="tokens/s"),
        SimpleNamespace(test="odd", result="maybe", figure=1.0, limit=None, unit=""),
    ]
    assert self_test_lines(results, "en") == [
        "units: passed",
        "speed: failed (3.25 tokens/s, limit 5 tokens/s)",
        "odd: maybe (1)",
    ]
    assert self_test_lines(results, "zh-CN")[1] == "speed：失败（3.25 tokens/s，限值 5 tokens/s）"


@pytest.mark.parametrize("language", LANGUAGES)
def test_holders_keep_their_own_words(language: Language) -> None:
    """A kind that is known is said in the reader's language, with the holder's name cleaned; others are given as is."""
    for kind in HOLDERS:
        named = gate_name(f"{kind}:door\x1b[31m open: now", language)
        assert "open: now" in named
        assert "\x1b" not in named
        assert not named.startswith(f"{kind}:")
    assert gate_name("stranger:x", language) == "stranger:x"
    assert gate_name("inhibitor", language) == "inhibitor"
    assert step_name("reboot", language) == "reboot"
