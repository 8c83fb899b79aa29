"""Tests of modelota.repository.workspace."""

from pathlib import Path
from typing import Any

import pytest

from modelota.errors import AskPerson
from modelota.repository.workspace import Workspace


def test_a_workspace_is_read_back(shop: Workspace) -> None:
    """The configuration survives the disk, and everything but the public part is private."""
    assert Workspace.open(shop.path) == shop
    assert shop.path.stat().st_mode & 0o777 == 0o700
    for path in shop.path.rglob("*"):
        if not path.is_relative_to(shop.path / "public"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("format = 1", "format = 2"),
        ("dev = false", "dev = false\nurls = 3"),
        ('suite = "aes-256-gcm"', 'suite = "rot13"'),
        ('name = "acme/assistant"', 'name = "acme"'),
        ('name = "car"', 'name = "archive"'),
        ('name = "car"', 'name = "car"\nmodels = ["acme/other"]'),
        ("need = 1", "need = 2"),
        ("need = 1", "need = 0"),
        ("timestamp = 14", "timestamp = 0"),
        ("dev = false", "dev = "),
        ("dev", "\x00"),
    ],
)
def test_a_bad_configuration_is_refused(shop: Workspace, before: str, after: str) -> None:
    """Unknown fields, wrong values, contradictions: the path and what is wrong."""
    path = shop.path / "publisher.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(AskPerson) as caught:
        Workspace.open(shop.path)
    assert caught.value.code == "not-a-repository"
    assert "publisher.toml" in str(caught.value.params["detail"])


def test_not_a_workspace(tmp_path: Path) -> None:
    """A directory without configuration, or with one in another encoding, is no workspace."""
    for data in (None, "größe = 1".encode("latin-1"), b"#" * (5 << 20)):
        if data is not None:
            (tmp_path / "publisher.toml").write_bytes(data)
        with pytest.raises(AskPerson) as caught:
            Workspace.open(tmp_path)
        assert caught.value.code == "not-a-repository"


def test_floors_never_fall(shop: Workspace) -> None:
    """What was seen stays seen; a damaged note is an error, not zero."""
    shop.note_seen(7)
    shop.note_seen(3)
    assert shop.seen().snapshot == 7
    (shop.path / "seen.toml").write_text("snapshot = -1")
    with pytest.raises(AskPerson):
        shop.seen()


def test_models_by_name(press: Any) -> None:
    """The only model need not be named; of several, one must be."""
    both = press.init("both", models=["acme/assistant", "acme/vision"]).workspace
    assert both.require_model("acme/vision") == "acme/vision"
    for name in (None, "acme/other"):
        with pytest.raises(AskPerson) as caught:
            both.require_model(name)
        assert caught.value.code == "argument-invalid"
    assert press.init("one").workspace.require_model(None) == "acme/assistant"
