"""`modelota.content.formats.registry`."""

from __future__ import annotations

import io
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.content.formats.build import gguf

from modelota.content.formats import registry
from modelota.content.formats.layout import Layout, hostile, lay_out, malformed, opaque_layout, plain_span
from modelota.content.formats.registry import Format, formats, parse
from modelota.content.formats.source import Source
from modelota.errors import AskPerson, OurBug


class Toy:
    """Files that start with `TOY`."""

    name = "toy"

    def recognises(self, start: bytes, size_bytes: int) -> bool:
        return start[:3] == b"TOY"

    def parse(self, source: Source) -> Layout:
        answer = source.take(4)[3:]
        if answer == b"h":
            raise hostile("tensors", limit=1, found=2)
        if answer == b"m":
            raise malformed("header-shape")
        if answer == b"b":
            return opaque_layout(3)
        return lay_out("toy", source.size_bytes, [plain_span("header", 0, 4)], [])


class NotAFormat:
    """Lacks everything."""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> object:
    def act(**points: str) -> None:
        found = [EntryPoint(name, place, registry.GROUP) for name, place in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])
        formats.cache_clear()

    yield act
    formats.cache_clear()


def test_registered_formats_come_after_ours(register: object) -> None:
    """Ours are there without any registration; a broken one is not there; a taken name stays with its owner."""
    here = __name__
    register(
        toy=f"{here}:Toy", gguf=f"{here}:Toy", absent="nowhere.at.all:X", wrong=f"{here}:NotAFormat", a=f"{here}:No"
    )  # type: ignore[operator]
    assert list(formats()) == ["safetensors", "gguf", "toy"]
    assert formats()["gguf"].name == "gguf"
    assert all(isinstance(one, Format) for one in formats().values())


def test_what_a_format_may_answer() -> None:
    """A layout; a contradiction, which makes the file opaque with a note; hostility, which refuses it by its path."""
    known = {"toy": Toy()}
    assert parse(io.BytesIO(b"TOY."), known).format == "toy"
    assert parse(io.BytesIO(b"TOYm"), known) == opaque_layout(4, "header-shape")
    assert parse(io.BytesIO(b"TO"), known) == opaque_layout(2)
    with pytest.raises(AskPerson, match="model-file-hostile"):
        parse(io.BytesIO(b"TOYh"), known)
    with pytest.raises(OurBug):
        parse(io.BytesIO(b"TOYb"), known)


def test_paths_and_streams(tmp_path: Path) -> None:
    """A path and a stream give the same; a stream stays where it was; the error names the path."""
    file = gguf([], [("t", (2,), 0, bytes(8))])
    path = tmp_path / "model"
    path.write_bytes(file)
    stream = io.BytesIO(file)
    stream.seek(5)
    assert parse(path) == parse(stream)
    assert stream.tell() == 5
    path.write_bytes(b"TOYh")
    with pytest.raises(AskPerson) as caught:
        parse(path, {"toy": Toy()})
    assert caught.value.params["path"] == str(path)
    with pytest.raises(OSError, match="absent"):
        parse(tmp_path / "absent")
