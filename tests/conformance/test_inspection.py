"""A run gives one row per requirement, in order, and refuses what it cannot do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from modelota.conformance import REQUIREMENTS, inspection, run
from modelota.conformance.row import Examination, Row, Text, Unmeasurable, Unreached
from modelota.conformance.stage import Stage
from modelota.errors import AskPerson, TryLater


def broken(_: Stage) -> Examination:
    raise ValueError("oops")


def unreached(_: Stage) -> Examination:
    raise Unreached("no socket")


def unmeasurable(_: Stage) -> Examination:
    raise Unmeasurable(Text("没有电池", "no battery"))


def good(_: Stage) -> Examination:
    seen = Examination()
    seen.claim("it-works", True)
    return seen


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four checks instead of the real ones."""
    checks = {"5.1-a": broken, "5.1-c": unreached, "5.1-d": unmeasurable, "5.2.1-b": good}
    monkeypatch.setattr(inspection, "CHECKS", checks)


@pytest.mark.usefixtures("planted")
def test_what_a_check_does_decides_its_row() -> None:
    """A broken check and an unreached point are failures; what a machine lacks is not."""
    rows = run(only=("5.2.1-b", "5.1-d", "5.1-c", "5.1-a", "8.3-b"))
    assert [(row.id, row.status) for row in rows] == [
        ("5.1-a", "failed"),
        ("5.1-c", "failed"),
        ("5.1-d", "unmeasurable here"),
        ("5.2.1-b", "passed"),
        ("8.3-b", "not measured yet"),
    ]
    assert "oops" in (rows[0].reason or "")
    assert "no socket" in (rows[1].reason or "")
    assert rows[2].reason == "no battery"
    assert run(only=("5.1-d",), language="zh-CN")[0].reason == "没有电池"


@pytest.mark.usefixtures("planted")
def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disposable root is gone after the run, read-only directories in it included."""
    places: list[Path] = []

    def leaves_something(stage: Stage) -> Examination:
        places.append(stage.place)
        deep = stage.place / "slots" / "files"
        deep.mkdir(parents=True)
        (deep / "model").write_text("x")
        deep.chmod(0o500)
        return good(stage)

    monkeypatch.setattr(inspection, "CHECKS", {"5.1-a": leaves_something})
    assert run(only=("5.1-a",))[0].status == "passed"
    assert places
    assert not places[0].exists()


def test_chapters_are_played_once(tmp_path: Path) -> None:
    """A chapter is recalled, and one that broke stays broken without being played again."""
    played = []

    def chapter(_: Stage) -> int:
        played.append("chapter")
        return 1

    def sad(_: Stage) -> int:
        played.append("sad")
        raise Unreached("it rained")

    with Stage(tmp_path) as stage:
        assert stage.chapter(chapter) + stage.chapter(chapter) == 2
        for _ in range(2):
            with pytest.raises(Unreached):
                stage.chapter(sad)
    assert played == ["chapter", "sad"]


def test_json_has_exactly_the_promised_keys() -> None:
    """Every key is there, also when it has nothing to say."""
    row = msgspec.to_builtins(Row(id="5.1-a", status="passed"))
    assert list(row) == ["id", "status", "figure", "limit", "unit", "reason", "evidence"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"only": ("9.9",)}, "argument-invalid"),
        ({"socket": Path("/s"), "model": Path("/m")}, "argument-invalid"),
        ({"repository": "https://example.org/"}, "argument-invalid"),
        ({"root_json": Path("/r")}, "argument-invalid"),
        ({"model": Path("/")}, "argument-invalid"),
        ({"repository": "gopher://example.org/", "root_json": Path("/r")}, "argument-invalid"),
        ({"socket": Path("/nonexistent/agent.sock")}, "agent-not-running"),
    ],
)
def test_calls_that_cannot_be_carried_out(arguments: dict[str, object], code: str) -> None:
    """They end with an error of the call, not with failed rows."""
    with pytest.raises((AskPerson, TryLater)) as caught:
        run(**arguments)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_rows_come_in_the_order_of_the_standard() -> None:
    """All 51, when the checks are left out of it."""
    rows = run(only=tuple(reversed([each for each in REQUIREMENTS if each.startswith("8")])))
    assert [row.id for row in rows] == [each for each in REQUIREMENTS if each.startswith("8")]
