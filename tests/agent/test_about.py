"""What an agent says of a version and of an offer, as far as it knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from modelota.agent import about
from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.origins import Origin, keep_origin, origin_of
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.spec.api_owner import ModelAbout

MODEL = "acme/assistant"


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An agent of one model, with nothing installed."""
    init(tmp_path / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=(MODEL,), dev=True)
    enrol(tmp_path / "enroll.toml", tmp_path / "device", SystemClock())
    opened = await Core.open(tmp_path / "device")
    yield opened
    await opened.aclose()


async def test_without_a_version_there_is_the_title_and_the_data(core: Core) -> None:
    """What is not installed has no version, no signer and no permissions; the user's data are counted all the same."""
    core.journal.set_fact(f"title {MODEL}", msgspec.json.encode({"en": "Assistant"}))
    data = core.layout.model(MODEL).user_data
    data.mkdir(parents=True)
    (data / "notes").write_bytes(b"x" * 10_000)
    told = await about.model_about(core, None)
    assert told == ModelAbout(model=MODEL, title={"en": "Assistant"}, user_data_bytes=told.user_data_bytes)
    assert told.user_data_bytes is not None
    assert told.user_data_bytes >= 10_000


async def test_too_much_data_is_not_counted(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that somebody waits for does not walk through a million files: then it is null."""
    monkeypatch.setattr(about, "USER_DATA_ENTRIES_MAX", 3)
    data = core.layout.model(MODEL).user_data
    data.mkdir(parents=True)
    for number in range(4):
        (data / str(number)).touch()
    assert (await about.model_about(core, None)).user_data_bytes is None


async def test_an_offer_that_is_none(core: Core) -> None:
    """Nothing is made up about it."""
    with pytest.raises(AskPerson, match="no-offer"):
        about.release_about(core, "5a" * 32)


async def test_where_a_manifest_came_from_is_kept_once(core: Core) -> None:
    """The first record stays, as the manifest does; one without signers is completed; a damaged one is told."""
    unsigned, first, later = (
        Origin(from_url=url, signed_by=keys, at="2026-11-24T06:00:00Z")
        for url, keys in (("/stick", ()), ("https://a.example", ("k1",)), ("https://b.example", ("k2",)))
    )
    assert origin_of(core.journal, "d") is None
    for origin, expected in ((unsigned, unsigned), (first, first), (later, first), (unsigned, first)):
        keep_origin(core.journal, "d", origin)
        assert origin_of(core.journal, "d") == expected
    core.journal.set_fact("origin e", b"[]")
    with pytest.raises(AskPerson, match="database-unreadable"):
        origin_of(core.journal, "e")
