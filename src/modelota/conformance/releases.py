"""Releases to publish: those of the model under test, and small ones on a stand-in engine for everything around it."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import modelota
from modelota.conformance.device import STANDIN
from modelota.errors import AskPerson
from modelota.testing.engine import fake_model

PROMPT: Final = "Who are you?"
_CHANGED_EVERY_BYTES: Final = 16
_VERSIONS: Final = ("1.1.1", "1.1.2", "1.1.3")  # first, better, bad

Table = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """The model under test.

    Attributes:
        model: its name.
        first: description of a release that works.
        better: of one that works and follows it.
        bad: of one that is well-formed and does not prove itself.
        line: of all releases that work, in order; each follows the one before.
    """

    model: str
    first: Table
    better: Table
    bad: Table
    line: tuple[Table, ...]

    def plain(self, table: Table) -> list[Path]:
        """The model files of a release."""
        return [Path(file["source"]) for variant in table["variants"] for file in variant["files"]]


def find_family(given: Path | None, scratch: Path) -> Family:
    """The model to check.

    Args:
        given: a GGUF file, or a directory with release descriptions (`releases/`); None is the example family of the
            source tree that this package runs from.
        scratch: where files may be made that tell releases of one given file apart.

    Raises:
        AskPerson: `argument-invalid`: there is no example family here, or what was given is none.
    """
    if given is None:
        given = Path(modelota.__file__).resolve().parents[2] / "examples" / "family"
        if not (given / "releases").is_dir():
            detail = "the example family comes with the source tree; name a GGUF file or a directory with releases"
            raise AskPerson("argument-invalid", argument="--model", detail=detail)
    if given.is_file() and given.suffix == ".gguf":
        return _from_file(given.resolve(), scratch)
    return _from_descriptions(given)


def _from_descriptions(directory: Path) -> Family:
    found: dict[str, Table] = {}
    for path in sorted((directory / "releases").rglob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        for variant in table.get("variants", ()):
            for file in variant.get("files", ()):
                file.setdefault("path", Path(file["source"]).name)
                file["source"] = str((path.parent / file["source"]).resolve())
        found[str(table.get("version"))] = table
    missing = [version for version in _VERSIONS if version not in found]
    if missing:
        detail = f"no releases/*.toml for {', '.join(missing)} in {directory}"
        raise AskPerson("argument-invalid", argument="--model", detail=detail)
    first, better, bad = (found[version] for version in _VERSIONS)
    for table in (better, bad):
        table.pop("predecessor", None)
    line = tuple(found[version] for version in sorted(found, key=_parts) if version != _VERSIONS[2])
    return Family(str(first["model"]), first, _urgent(better), bad, line)


def _parts(version: str) -> tuple[int, ...]:
    """Numbers to sort by; what is none comes first, and is refused when it is published."""
    return tuple(int(part) if part.isdecimal() else -1 for part in version.split("."))


def _from_file(file: Path, scratch: Path) -> Family:
    scratch.mkdir(parents=True, exist_ok=True)
    speed = {"prompt": "Hello", "tokens": 8, "max_first_token_s": 120.0, "min_tokens_per_s": 0.05}
    promise = {
        "id": "impossible",
        "prompt": "Hello",
        "check": {"kind": "equals", "values": ["no model says exactly this"]},
        "max_tokens": 8,
    }
    tables = []
    for version in _VERSIONS:
        mark = scratch / f"release-{version}.txt"
        mark.write_text(f"{version}\n", encoding="utf-8")
        tests: Table = {"performance": dict(speed)}
        if version == _VERSIONS[2]:
            tests["functional"] = [promise]
        variant = {
            "name": "default",
            "files": [{"source": str(file), "path": file.name}, {"source": str(mark), "path": "release.txt"}],
            "runtime": {"name": "llama.cpp", "entry": file.name},
            "self_tests": tests,
        }
        tables.append(_head("conformance/model", version) | {"variants": [variant]})
    return Family("conformance/model", tables[0], _urgent(tables[1]), tables[2], tuple(tables[:2]))


def _urgent(table: Table) -> Table:
    """The same release as an urgent security fix that wants one permission more."""
    reason = {"zh-CN": "修复一个正在被利用的漏洞。", "en": "It closes a hole that is being used."}
    permissions = [*table.get("permissions", []), "microphone"]
    return table | {
        "kind": "security",
        "urgency": {"reason": reason},
        "permissions": list(dict.fromkeys(permissions)),
    }


def _head(model: str, version: str) -> Table:
    return {
        "format": 1,
        "model": model,
        "version": version,
        "kind": "fix",
        "notes": {"zh-CN": f"符合性检查用的版本 {version}。", "en": f"Release {version} for a conformance check."},
        "interfaces": [{"name": "chat"}],
    }


def _ballast(model: str, version: str, size_bytes: int, *, related: bool) -> bytes:
    own = random.Random(f"{model} {version}")  # noqa: S311  reproducible content, not a secret
    if not related:
        return own.randbytes(size_bytes)
    data = bytearray(random.Random(model).randbytes(size_bytes))  # noqa: S311  the same
    for start in range(0, size_bytes - _CHANGED_EVERY_BYTES, _CHANGED_EVERY_BYTES):
        data[start + own.randrange(_CHANGED_EVERY_BYTES)] = own.randrange(256)
    return bytes(data)


def standin(
    scratch: Path,
    model: str,
    version: str = "1.1.1",
    *,
    ballast_bytes: int = 0,
    related: bool = False,
    ballast_of: str | None = None,
    module_bytes: int = 0,
    requires: Mapping[str, Any] | None = None,
    perplexity: bool = False,
    script: Mapping[str, Any] | None = None,
    performance: Mapping[str, Any] | None = None,
) -> Table:
    """A release on the stand-in engine.

    Args:
        scratch: where its files are made.
        model: its name.
        version: its version; also what its answer tells.
        ballast_bytes: bytes that nothing can compress, beside the engine's script.
        related: versions share most of the ballast: one byte in `_CHANGED_EVERY_BYTES` is each version's own, so that
            no chunk stays the same and a difference is small.
        ballast_of: another version whose ballast it has.
        module_bytes: size of a file of its own, beside the ballast.
        requires: what it demands of a device.
        perplexity: give it a test that the stand-in engine can't run.
        script: how its engine behaves, beside its answer (fields of `testing.engine.Script`).
        performance: what it promises to do at least.
    """
    folder = scratch / model.replace("/", "-") / version
    folder.mkdir(parents=True, exist_ok=True)
    answers = {PROMPT: f"I am {model} {version}"}
    (folder / "script.json").write_bytes(fake_model(answers=answers, **(script or {})))
    files = [{"source": str(folder / "script.json"), "path": "script.json"}]
    if ballast_bytes:
        (folder / "ballast.bin").write_bytes(_ballast(model, ballast_of or version, ballast_bytes, related=related))
        files.append({"source": str(folder / "ballast.bin"), "path": "ballast.bin"})
    if module_bytes:
        (folder / "module.bin").write_bytes(_ballast(f"{model} module", version, module_bytes, related=False))
        files.append({"source": str(folder / "module.bin"), "path": "module.bin"})
    test = {"id": "who", "prompt": PROMPT, "check": {"kind": "contains", "values": [version]}, "max_tokens": 16}
    tests: Table = {"functional": [test]}
    if performance is not None:
        tests["performance"] = dict(performance)
    if perplexity:
        tests["perplexity"] = {"text": "A text that this runtime cannot judge.", "max": 10.0}
    variant: Table = {
        "name": "default",
        "files": files,
        "runtime": {"name": "command", "entry": "script.json", "profile": STANDIN},
        "self_tests": tests,
    }
    if requires is not None:
        variant["requires"] = dict(requires)
    return _head(model, version) | {"variants": [variant]}
