"""Engines and sockets for the tests of this room."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import blake3
import pytest

from modelota.runtime.protocol import EngineFile, EngineSpec
from modelota.testing.engine import fake_argv, fake_model

MakeSpec = Callable[..., EngineSpec]


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A private directory with a short name, as a device's run directory is."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name)


def engine_file(path: Path) -> EngineFile:
    """The file as a manifest would promise it."""
    data = path.read_bytes()
    return EngineFile(path=str(path), size_bytes=len(data), digest=blake3.blake3(data).hexdigest())


@pytest.fixture
def make_fake(run_dir: Path) -> MakeSpec:
    """Specifications of fake engines: `make_fake("a", answers={…})`."""

    def make(label: str = "1.1.1+fake", **script: object) -> EngineSpec:
        place = run_dir / label
        place.mkdir(mode=0o700)
        model = place / "model.json"
        model.write_bytes(fake_model(**script))
        return EngineSpec(
            label=label,
            runtime="command",
            files=(engine_file(model),),
            entry=str(model),
            socket_path=str(place / "engine.sock"),
            log_path=str(place / "engine.log"),
            work_dir=str(place / "work"),
            profile_argv=fake_argv(),
        )

    return make


@pytest.fixture
def make_llama(run_dir: Path) -> MakeSpec:
    """Specifications of llama.cpp engines for a model file: `make_llama("a", path)`."""

    def make(label: str, model: Path, **fields: object) -> EngineSpec:
        place = run_dir / label
        place.mkdir(mode=0o700)
        return EngineSpec(
            **{
                "label": label,
                "runtime": "llama.cpp",
                "files": (engine_file(model),),
                "entry": str(model),
                "context_tokens": 256,
                "threads": 1,
                "socket_path": str(place / "engine.sock"),
                "log_path": str(place / "engine.log"),
                "work_dir": str(place / "work"),
                **fields,
            }  # type: ignore[arg-type]
        )

    return make
