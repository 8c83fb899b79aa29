"""What a passing answer tells about its engine."""

from __future__ import annotations

from modelota.runtime.meter import AnswerFigures, Meter


def metered(*pieces: bytes, status: int = 200, whole: bool = True) -> AnswerFigures:
    """The figures of an answer whose pieces come half a second apart."""
    seconds = iter(range(100))
    meter = Meter(lambda: next(seconds) / 2)
    for piece in pieces:
        meter.passed(piece)
    return meter.figures(status, whole=whole)


def test_the_engines_own_timings_count() -> None:
    """llama-server's figures at the end of an answer are taken, wherever the pieces are cut."""
    body = b'{"choices":[],"timings":{"prompt_n":4,"predicted_n":32,"predicted_ms":1600.5,"predicted_per_second":20.0}}'
    assert metered(body) == AnswerFigures(failed=False, tokens=32, generating_s=1.6005)
    for cut in range(1, len(body), 7):
        assert metered(body[:cut], body[cut:]).tokens == 32


def test_events_count_where_there_are_no_timings() -> None:
    """A streamed answer without timings is measured by its events."""
    event = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    assert metered(event, event, event, event, b"data: [DONE]\n\n") == AnswerFigures(False, 3, 2.0)


def test_nothing_is_made_up() -> None:
    """An answer that tells no figures has none."""
    assert metered(b'{"choices":[]}') == AnswerFigures(False, 0, 0.0)
    assert metered() == AnswerFigures(False, 0, 0.0)


def test_failures_of_the_engine_only() -> None:
    """A server error or an answer that broke off is the engine's failure; a client's mistake is not."""
    assert metered(status=500).failed
    assert metered(b"{", whole=False).failed
    assert not metered(status=400).failed


def test_text_is_not_kept() -> None:
    """However long the answer is, only its last bytes are in memory."""
    meter = Meter(lambda: 0.0)
    for _ in range(100):
        meter.passed(b"secret " * 1000)
    assert len(meter._tail) <= 2048
