"""The shipped kernel: built from the committed source, needing nothing, switched off by a word, and sound in memory."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelota.content.delta.loops import LOOPS_VARIABLE, loops
from modelota.content.delta.loops_native import LIBRARIES, library_path, load_library
from modelota.errors import OurBug

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "native" / "delta.c"
LIBRARY_FOLDER = ROOT / "src" / "modelota" / "content" / "delta" / "native"
FUZZ = Path(__file__).with_name("sanitized.py")


@pytest.mark.parametrize("name", sorted(LIBRARIES.values()))
def test_library_is_built_from_this_source(name: str) -> None:
    """Each library, whatever machine it is for, carries the hash of the source it was built from."""
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest().encode() in (LIBRARY_FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", sorted(LIBRARIES.values()))
def test_library_is_small_and_needs_no_other(name: str) -> None:
    """A few dozen kilobytes; no library that a musl or an old glibc device could lack."""
    library = (LIBRARY_FOLDER / name).read_bytes()
    assert len(library) < 64 * 1024
    assert b"libc.so" not in library
    assert b"GLIBC" not in library
    assert not any(name in library for name in (b"memcpy", b"memset", b"memmove"))  # which compilers like to call


def test_library_is_what_the_build_makes(tmp_path: Path) -> None:
    """Where the pinned compiler is installed, building again gives the same bytes."""
    spec = importlib.util.spec_from_file_location("native_build", ROOT / "native" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    name, version = build.COMPILER
    try:
        if importlib.metadata.version(name) != version:
            pytest.skip(f"{name} is not {version}")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    for built in build.build(tmp_path):
        assert built.read_bytes() == (LIBRARY_FOLDER / built.name).read_bytes()


def test_what_cannot_be_loaded_is_not_used(tmp_path: Path) -> None:
    """A file that is no library, another library, or none: NumPy does it."""
    assert load_library(tmp_path / "none.so") is None
    (tmp_path / "noise.so").write_bytes(b"\x7fELF" + bytes(200))
    assert load_library(tmp_path / "noise.so") is None
    assert load_library(Path(ctypes.__file__).with_name("util.py")) is None


def test_a_word_keeps_the_kernel_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """MODELOTA_DELTA_LOOPS=numpy; and demanding what cannot be had is an error, not another thing."""
    monkeypatch.setenv(LOOPS_VARIABLE, "numpy")
    loops.cache_clear()
    assert loops().name == "numpy"
    monkeypatch.setattr("modelota.content.delta.loops_native.load_library", lambda: None)
    loops.cache_clear()
    with pytest.raises(OurBug):
        loops("native")
    monkeypatch.undo()
    loops.cache_clear()
    if library_path() is not None:
        assert loops().name == "native"


def test_damage_under_sanitizers(tmp_path: Path) -> None:
    """Damaged deltas, with every read and write of the kernel checked, and undefined behaviour an error."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    library = tmp_path / "sanitized.so"
    flags = "-std=c11 -O1 -g -fPIC -shared -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all"
    built = subprocess.run([compiler, *flags.split(), "-o", library, SOURCE], capture_output=True, check=False)
    if built.returncode:
        pytest.skip("gcc has no sanitizers here")
    found = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, check=True, text=True
    ).stdout.strip()
    environment = os.environ | {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, FUZZ, library, "40"], env=environment, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "outcomes" in done.stdout
