"""`modelota.testing.format_suite`: it finds what a wrong format does; and the page's example, as written, passes it."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from modelota.content.formats import registry
from modelota.content.formats.layout import Layout, lay_out, malformed, opaque_layout, plain_span, tensor_span
from modelota.content.formats.registry import formats, parse
from modelota.content.formats.source import Source
from modelota.testing.format_suite import check_format


class Good:
    """`TOY`, a name's length and the name, how many bytes follow, and those."""

    name = "toy"

    def recognises(self, start: bytes, size_bytes: int) -> bool:
        return start[:3] == b"TOY"

    def parse(self, source: Source) -> Layout:
        source.skip(3)
        name = source.take(source.take(1)[0])
        size_bytes = int.from_bytes(source.take(4), "little")
        try:
            span = tensor_span(name.decode(), "u8", (size_bytes,), source.position)
        except UnicodeDecodeError as error:
            raise malformed("name-invalid") from error
        return lay_out(self.name, source.size_bytes, [plain_span("header", 0, source.position)], [span])


def toy(name: bytes = b"tensor", values: bytes = bytes(5000)) -> bytes:
    return b"TOY" + bytes([len(name)]) + name + len(values).to_bytes(4, "little") + values


FILES = [toy(), toy(b"other", b"values" * 900)]


def findings(one: Any, **options: Any) -> set[str]:
    return {finding.check for finding in check_format(one, FILES, **options)}


def test_a_good_format_passes() -> None:
    """Nothing is found where nothing is wrong."""
    assert findings(Good(), rearranged=[(toy(), toy(b"renamed"))]) == set()


def crash(self: Any, source: Source) -> Layout:
    return Layout("toy", source.size_bytes, (tensor_span("t", "u8", (1 // 0,), 0),))


def decode_error(self: Any, source: Source) -> Layout:
    source.skip(3)
    source.take(source.take(1)[0]).decode("ascii")
    return Good().parse(Source(source._stream, source.size_bytes))


def no_cover(self: Any, source: Source) -> Layout:
    return opaque_layout(source.size_bytes - 1)


def no_tensor(self: Any, source: Source) -> Layout:
    return lay_out("toy", source.size_bytes, [plain_span("header", 0, 3)], [])


def moody(self: Any, source: Source) -> Layout:
    self.calls = getattr(self, "calls", 0) + 1
    return lay_out("toy", source.size_bytes, [plain_span("header", 0, 3 + self.calls % 2)], [])


def header_in_tensor(self: Any, source: Source) -> Layout:
    return lay_out("toy", source.size_bytes, [], [tensor_span("t", "u8", (source.size_bytes,), 0)])


def reads_past_the_end(self: Any, source: Source) -> Layout:
    source._stream.seek(source.size_bytes)
    source._stream.read(100)
    return Good().parse(source)


def greedy(self: Any, start: bytes, size_bytes: int) -> bool:
    return True


def shy(self: Any, start: bytes, size_bytes: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("member", "fault", "check"),
    [
        ("parse", crash, "knows its files"),
        ("parse", decode_error, "a damaged file is opaque, refused, or covered"),
        ("parse", no_cover, "chunks are legal and give the file again"),
        ("parse", no_tensor, "finds tensors and covers the file"),
        ("parse", moody, "says the same twice, and of a stream that gives little at a time"),
        ("parse", header_in_tensor, "the same tensors give the same chunks"),
        ("parse", reads_past_the_end, "reads nothing outside the file"),
        ("parse", None, "provides what a format provides"),
        ("recognises", shy, "knows its files"),
        ("recognises", greedy, "leaves the files of others alone"),
    ],
)
def test_faults_are_found(member: str, fault: Callable[..., Any] | None, check: str) -> None:
    """Each way to be wrong is a finding, by its name."""
    one = type("Wrong", (Good,), {member: fault})()
    assert check in findings(one, rearranged=[(toy(), toy(b"renamed"))] if fault is header_in_tensor else [])


def test_too_few_files() -> None:
    """One example proves little."""
    assert [finding.found for finding in check_format(Good(), FILES[:1])] == ["1, and two are needed"]


@pytest.fixture
def example(repository_root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's Python blocks, run in order as `my_package.npy`, registered by the page's own line."""
    pytest.importorskip("numpy")
    page = (repository_root / "docs" / "adding-a-format.md").read_text(encoding="utf-8")
    module = types.ModuleType("my_package.npy")
    monkeypatch.setitem(sys.modules, "my_package", types.ModuleType("my_package"))
    monkeypatch.setitem(sys.modules, "my_package.npy", module)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/adding-a-format.md", "exec"), module.__dict__)  # the page is ours
    ((name, place),) = re.findall(r'^(\w+) = "(my_package[^"]+)"$', page, re.MULTILINE)
    group = re.search(r'\[project\.entry-points\."([^"]+)"\]', page)
    assert group is not None
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(name, place, group)])
    formats.cache_clear()
    yield group[1], module
    formats.cache_clear()


def test_the_example_of_the_page(example: tuple[str, Any], tmp_path: Path) -> None:
    """`docs/adding-a-format.md` works as written: the format passes the suite, registers, and is used."""
    group, module = example
    assert group == registry.GROUP
    assert list(formats()) == ["safetensors", "gguf", "npy"]
    path = tmp_path / "weights.npy"
    path.write_bytes(module.npy(module.weights))
    layout = parse(path)
    assert [(span.dtype, span.shape) for span in layout.tensors] == [("f32", (60, 100))]
    broken = path.read_bytes().replace(b"(60, 100)", b"(60, 101)")
    path.write_bytes(broken)
    assert parse(path).note == "tensor-out-of-range"
