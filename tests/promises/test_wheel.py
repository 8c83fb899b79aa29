"""The wheel, installed into an empty environment with the device core alone, works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = {"gguf", "xllamacpp", "psutil"}  # what an extra or a development tool would bring


def run(command: list[str], cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def core_closure(repository_root: Path) -> set[str]:
    """Names of the distributions that the device core needs, directly or not, on this platform."""
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))
    waiting = [Requirement(text) for text in project["project"]["dependencies"]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in metadata.requires(requirement.name) or []:
            deeper = Requirement(text)
            environments = [{"extra": extra} for extra in requirement.extras] or [{"extra": ""}]
            if deeper.marker is None or any(deeper.marker.evaluate(environment) for environment in environments):
                waiting.append(deeper)
    return {name for name, _ in seen}


def copy_distribution(name: str, target: Path) -> None:
    """Copy an installed distribution, file by file as its record lists them, into another site-packages."""
    for file in metadata.files(name) or []:
        if ".." in file.parts or file.suffix == ".pyc":
            continue  # scripts lie outside site-packages; the core needs none
        destination = target / Path(*file.parts)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.locate(), destination)


@pytest.fixture(scope="module")
def wheel(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], repository_root)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty(repository_root: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel, the device core's locked dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = next((folder / "env" / "lib").glob("python3*/site-packages"))
    for name in sorted(core_closure(repository_root)):
        copy_distribution(name, site)
    python = str(folder / "env" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--no-index", "--no-deps", "--no-compile", str(wheel)], folder)
    run([*pip, "check"], folder)
    return folder


def test_the_command_works_with_the_core_alone(empty: Path) -> None:
    """`modelota version` runs, from the wheel and not from the source tree."""
    import modelota

    said = run([str(empty / "env" / "bin" / "modelota"), "version"], empty)
    assert modelota.__version__ in said
    where = run([str(empty / "env" / "bin" / "python"), "-c", "import modelota; print(modelota.__file__)"], empty)
    assert where.startswith(str(empty))


def test_modules_need_no_extra_to_import(empty: Path) -> None:
    """Every module imports without the extras; what needs one imports it late, and says so when it is missing."""
    code = (
        "import importlib, pkgutil, sys, modelota\n"
        "failed = []\n"
        "for found in pkgutil.walk_packages(modelota.__path__, 'modelota.'):\n"
        "    if found.name.endswith('__main__'): continue\n"
        "    try: importlib.import_module(found.name)\n"
        "    except ImportError as error: failed.append(f'{found.name}: {error}')\n"
        "print('\\n'.join(failed))\n"
        "present = set(sys.argv[1:]) & {name.partition('.')[0] for name in sys.modules}\n"
        "assert not present, present\n"
    )
    failed = run([str(empty / "env" / "bin" / "python"), "-c", code, *EXTRAS], empty)
    assert not failed.strip(), failed


def test_the_wheel_carries_what_is_not_python(repository_root: Path, wheel: Path) -> None:
    """Translations, the type marker, and everything that the owner's page is made of travel too."""
    names = run([sys.executable, "-m", "zipfile", "-l", str(wheel)], wheel.parent)
    page = repository_root / "src" / "modelota" / "agent" / "page"
    pieces = [*page.glob("templates/*"), *page.glob("static/*")]
    assert len(pieces) > 10
    for piece in pieces:
        assert f"modelota/agent/page/{piece.parent.name}/{piece.name}" in names
    assert "modelota/py.typed" in names
    assert "modelota/i18n/locales/zh_CN/LC_MESSAGES/modelota.mo" in names
    assert "licenses/LICENSE" in names
    assert "tests/" not in names


def test_the_wheel_carries_the_page(repository_root: Path, wheel: Path) -> None:
    """Every template and every static file of the owner's page travels."""
    page = repository_root / "src" / "modelota" / "agent" / "page"
    files = {path for folder in ("templates", "static") for path in (page / folder).iterdir()}
    assert {path.suffix for path in files} >= {".jinja", ".css", ".js"}
    names = run([sys.executable, "-m", "zipfile", "-l", str(wheel)], wheel.parent)
    for path in files:
        assert f"modelota/agent/page/{path.parent.name}/{path.name}" in names
