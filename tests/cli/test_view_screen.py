"""What the terminal view paints, without a terminal: whole lines, in both languages, at any size."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fake_agent import AT, MODEL, model_status, offer_view, outcome

from modelota.cli.full_screen import Line, Size
from modelota.cli.key_presses import KeyPresses
from modelota.cli.view_keys import about_cancelling, about_going_back, about_offer, keys_of
from modelota.cli.view_screen import Scene, paint
from modelota.cli.wrapping import cut, wrap
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.texts import texts_for, width
from modelota.spec import api, api_owner

ERROR = api.ErrorBody(code="no-space", params={"path": "/data", "need_bytes": 5_000_000_000, "free_bytes": 0})
FLAW = api.ErrorBody(
    code="slot-damaged", params={"slot": "1", "path": "/data"}, now="serving", now_params={"version": "1"}
)
SIZES = [Size(60, 20), Size(80, 24), Size(36, 9), Size(200, 60)]
LATER = api.StandingAnswer(id=3, answer="later", to_version="1.1.2", at=AT, remind_at=AT)
NOTICE = api_owner.Notice(
    id=1, key="k", kind="attention", model=MODEL, at=AT, due_at=AT, error=FLAW, facts={"about": "damaged"}
)

# What is the same in every language: names, numbers, codes, commands, places.
NAMES = r"acme/assistant|modelota( device --help)?|[0-9a-f]{40,}|\[[a-z-]+\]|“[^”]*”|/data"

MODELS: dict[str, api.ModelStatus] = {
    "new": model_status(active_version=None),
    "idle": model_status(previous_version="1.1.0", last_outcome=outcome(), last_checked_at=AT),
    "offered": model_status(phase="offered", offer=offer_view(), answers=(LATER,), previous_version="1.1.0"),
    "urgent": model_status(
        phase="offered",
        offer=offer_view(kind="security", urgency_reason={"zh-CN": "修复漏洞。", "en": "Fixes a flaw in use."}),
    ),
    "fetching": model_status(
        phase="fetching",
        target_version="1.1.2",
        progress=api.Progress(step="fetching", done=19_000_000, total=38_000_000, rate_per_s=1e6, left_s=60.0),
    ),
    "paused": model_status(phase="fetching", target_version="1.1.2", paused=True, waits_for=("no-space",), error=ERROR),
    "waiting": model_status(phase="waiting", target_version="1.1.2", waits_for=("charging", "time", "inhibitor:rauc")),
    "testing": model_status(
        phase="testing", target_version="1.1.2", progress=api.Progress(step="testing", done=1, total=3)
    ),
    "failed": model_status(last_outcome=outcome("failed", error=ERROR), watch_until=AT, end_of_service=AT),
    "degraded": model_status(phase="degraded", error=ERROR, withdrawn=ERROR, engine_error=ERROR),
}


def text(lines: list[Line]) -> list[str]:
    """Painted lines without their styles."""
    return ["".join(piece for piece, _ in line) for line in lines]


def scene_of(model: api.ModelStatus, language: Language = "en", **fields: object) -> Scene:
    """A scene with one model."""
    status = api.Status(
        api=1,
        agent_version="0.1.0",
        root="/device",
        supervisor=True,
        repository_url="https://models.example.com",
        device_class="dev",
        models=(model,),
    )
    scene = Scene(status, language)
    for name, value in fields.items():
        setattr(scene, name, value)
    return scene


def painted(scene: Scene, size: Size) -> list[str]:
    """The screen as the view paints it."""
    texts = texts_for(scene.language)
    for _ in range(2):
        scene.keys = keys_of(scene, texts)
        lines = paint(scene, size)
    return text(lines)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", MODELS)
def test_every_state_fits_every_screen(name: str, language: Language) -> None:
    """No line is wider than the screen, there are as many as it has, and the way out is always on it."""
    for size in SIZES:
        for page in ("overview", "offer", "help"):
            lines = painted(scene_of(MODELS[name], language, page=page, notices=(NOTICE,)), size)
            assert len(lines) == size.rows
            assert max(map(width, lines)) <= size.columns
            assert any("[q]" in line for line in lines)


@pytest.mark.parametrize("name", MODELS)
def test_chinese_is_chinese(name: str) -> None:
    """No English sentence is left on a Chinese screen."""
    for page in ("overview", "offer", "help"):
        lines = painted(scene_of(MODELS[name], "zh-CN", page=page, notices=(NOTICE,), busy=""), Size(100, 60))
        left = re.sub(NAMES, "", "\n".join(lines))
        assert re.findall(r"[A-Za-z]{4,}", left) == []


def test_the_state_on_the_screen() -> None:
    """Version, phase, headline, reason, reminder, progress and outcome are there."""
    size = Size(100, 50)
    offered = "\n".join(painted(scene_of(MODELS["offered"]), size))
    assert "1.1.1 (variant q8)" in offered
    assert "acme/assistant 1.1.2 is available · Fixes unit conversion ·" in offered
    assert "reminder on" in offered
    assert "[z] take the answer back" in offered
    assert "[b] back to 1.1.0" in offered
    assert "Fixes a flaw in use." in "\n".join(painted(scene_of(MODELS["urgent"]), size))
    fetching = painted(scene_of(MODELS["fetching"]), size)
    assert any("█" * 20 + "░" * 20 in line for line in fetching)
    assert any("19 MB of 38 MB (50 %) · 1.0 MB/s" in line for line in fetching)
    paused = "\n".join(painted(scene_of(MODELS["paused"]), size))
    assert "[r] resume" in paused
    assert "[c] cancel" in paused
    assert "free space" in paused
    assert "[no-space]" in paused
    failed = "\n".join(painted(scene_of(MODELS["failed"]), size))
    assert "The update to 1.1.2 did not succeed." in failed
    assert "Version 1.1.1 stays in use and works as before." in failed


def test_tonight_on_the_screen() -> None:
    """What was agreed to for the evening says when it begins, and can be taken back until it has begun."""
    waits = {"phase": "waiting", "target_version": "1.1.2", "waits_for": ("time", "charging")}
    accepted = {"id": 4, "answer": "accept", "to_version": "1.1.2", "at": AT}
    tonight = api.StandingAnswer(**accepted, expires_at=AT, not_before="2026-11-24T22:00:00Z")  # type: ignore[arg-type]  # real fields
    lines = painted(scene_of(model_status(**waits, answers=(tonight,))), Size(100, 30))
    assert any("begins at 2026-11-24 22:00 at the earliest" in line for line in lines)
    assert any("[z] take the answer back" in line for line in lines)
    begun = painted(scene_of(model_status(**waits, answers=(api.StandingAnswer(**accepted),))), Size(100, 30))  # type: ignore[arg-type]  # real fields
    assert not any("[z]" in line or "accept" in line for line in begun)


def test_what_cannot_be_done_has_no_key() -> None:
    """Nothing is offered that the agent would refuse: no answer during an update, no cancel once it switches over."""
    fetching = keys_of(scene_of(MODELS["fetching"]), texts_for("en"))
    assert [key.key for key in fetching] == ["p", "c", "q", "?"]
    activating = scene_of(model_status(phase="activating", target_version="1.1.2"))
    assert [key.key for key in keys_of(activating, texts_for("en"))] == ["q", "?"]
    away = scene_of(MODELS["offered"], connected=False)
    assert [key.key for key in keys_of(away, texts_for("en"))] == ["q", "?"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
def test_yes_only_after_the_end(size: Size, language: Language) -> None:
    """However small the screen, yes is offered once every line of the offer has been on it."""
    texts = texts_for(language)
    question = about_offer("accept", MODELS["offered"], offer_view(), texts)
    scene = scene_of(MODELS["offered"], language, page="question", question=question)
    shown: set[str] = set()
    for _ in range(200):
        lines = painted(scene, size)
        shown |= {line.strip() for line in lines}
        if any("[y]" in line for line in lines):
            break
        scene.top += 1
    whole = painted(scene_of(MODELS["offered"], language, page="question", question=question), size._replace(rows=300))
    assert scene.seen
    assert {line.strip() for line in whole if "[y]" not in line} <= shown
    assert any(offer_view().digest[-8:] in line for line in shown)


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions(language: Language) -> None:
    """Each question says what happens, and a long way back is asked twice."""
    texts = texts_for(language)
    for question in (about_cancelling(MODELS["fetching"], texts), about_going_back(MODELS["idle"], texts)):
        lines = painted(scene_of(MODELS["idle"], language, page="question", question=question), Size(80, 24))
        assert question.sentence in lines
        assert any("[y]" in line for line in lines)
    long = offer_view(direction="rollback", from_version="1.1.2", to_version="1.1.1")
    unknown = api.OfferView(offer=long.offer, digest="0" * 64, made_at=AT)
    assert about_offer("accept", MODELS["offered"], unknown, texts).long
    assert not about_offer("later", MODELS["offered"], unknown, texts).long


@given(text=st.text(max_size=200), columns=st.integers(2, 90))
def test_wrapping_loses_nothing(text: str, columns: int) -> None:
    """Every line fits, and all that is not a space is there, in order."""
    lines = wrap(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.replace("\n", " ").split())
    assert width(cut(text, columns)) <= columns


def test_wrapping_as_people_do() -> None:
    """Words stay whole, Chinese stops do not begin a line, facts stay together."""
    assert wrap("one two three", 8) == ["one two", "three"]
    assert wrap("更新完成，正在使用", 8) == ["更新完", "成，正在", "使用"]
    assert wrap("aa · bb cc · dd", 8) == ["aa ·", "bb cc ·", "dd"]
    assert wrap("", 8) == [""]
    assert wrap("最早于 12 月 1 日开始", 16) == ["最早", "于 12 月 1 日开", "始"]  # a figure stays with what it counts
    assert wrap("于 2026 年", 5) == ["于 20", "26 年"]  # unless the line is shorter than that


def test_key_presses() -> None:
    """Letters, arrows in pieces, full-width letters of an input method; what is pasted is none."""
    keys = KeyPresses()
    assert keys.take("uU？ｙ") == ["u", "u", "?", "y"]
    assert keys.take("\x1b[A\x1b[6~ \t") == ["up", "page-down", "page-down", "tab"]
    assert keys.take("\x1b") == []
    assert keys.take("[B") == ["down"]
    assert keys.take("\x1b[200~uy") == []
    assert keys.take("y\x1b[201~q") == ["q"]
    assert keys.take("\x1b") == []
    assert keys.give_up() == ["escape"]
    assert keys.take("\x1b[200~" + "y" * 70_000) == []
    assert keys.take("q") == ["q"]
