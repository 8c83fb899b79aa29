"""Documents say what the code does: codes, fail points, settings, variables, routes, words, links, commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota import errors, faults

SKIPPED = {".git", ".venv", "__pycache__", "build", "dist", ".demo", "requirements"}
SOURCES = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".cfg", ".sh", ".po", ".pot", ".c", ".js", ".html"}
WORDS = [
    "model", "release, version", "variant", "manifest", "catalog", "control", "package", "chunk", "pack", "seal",
    "plan", "offer", "decision", "slot", "journal", "ledger", "preflight", "self-test", "watch", "gate", "inhibitor",
    "engine", "runtime", "residue", "incident", "report", "case", "device class",
]  # fmt: skip


def files(root: Path) -> Iterator[Path]:
    """Text files of the source tree, without caches and environments."""
    for path in sorted(root.iterdir()):
        if path.name in SKIPPED or path.name.endswith(("_cache", ".egg-info")):
            continue
        if path.is_dir():
            yield from files(path)
        elif path.suffix in SOURCES or path.name in {"Makefile", "run", ".importlinter", ".gitignore"}:
            yield path


def pages(root: Path) -> list[Path]:
    return [path for path in files(root) if path.suffix == ".md"]


def text_of(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def table_keys(text: str) -> list[str]:
    """The code words in the first column of the page's tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def modules(root: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((root / "src").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


# -- errors


@pytest.mark.parametrize("page", ["docs/errors.md", "docs/errors.zh-CN.md"])
def test_every_error_code_has_an_entry(repository_root: Path, page: str) -> None:
    """The page has a section for exactly the codes of the tree."""
    sections = re.findall(r"^### ([a-z-]+)$", text_of(repository_root, page), re.MULTILINE)
    assert sorted(sections) == sorted(errors.CODES)


# -- fail points


def test_every_fail_point_is_documented(repository_root: Path) -> None:
    """The page lists exactly the fail points, in their order."""
    assert table_keys(text_of(repository_root, "docs/fail-points.md")) == list(faults.POINTS)


def test_every_fail_point_is_passed_and_no_other(repository_root: Path) -> None:
    """Each listed point is used in the source, by a literal name, and nothing else is."""
    used: set[str] = set()
    for path, tree in modules(repository_root):
        for node in ast.walk(tree):
            is_point = isinstance(node, ast.Call) and ast.unparse(node.func) in {"faults.point", "point"}
            if is_point and isinstance(node, ast.Call):
                assert node.args, path
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: not a literal"
                used.add(str(node.args[0].value))
    assert used == set(faults.POINTS)


# -- settings and variables


def settings_of(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings; a table with names of the user's own becomes `<name>`."""
    for field in msgspec.structs.fields(kind):
        annotation: Any = field.type
        name = prefix + field.encode_name
        if typing.get_origin(annotation) is dict:
            annotation, name = typing.get_args(annotation)[1], f"{name}.<name>"
        if isinstance(annotation, types.UnionType):
            annotation = next(inner for inner in typing.get_args(annotation) if inner is not type(None))
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            yield from settings_of(annotation, f"{name}.")
        else:
            yield name


def test_every_setting_is_documented(repository_root: Path) -> None:
    """The page lists exactly the settings of `config.toml`."""
    from modelota.agent.config import Config

    listed = [key for key in table_keys(text_of(repository_root, "docs/configuration.md")) if "." in key]
    assert sorted(listed) == sorted(settings_of(Config))


def test_the_example_configuration_is_valid(repository_root: Path, tmp_path: Path) -> None:
    """The page's example is accepted."""
    from modelota.agent.config import Config, read_config

    (example,) = re.findall(r"```toml\n(.*?)```", text_of(repository_root, "docs/configuration.md"), re.DOTALL)
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    assert read_config(tmp_path / "config.toml") != Config()


def test_every_environment_variable_is_documented(repository_root: Path) -> None:
    """No variable is read that the page does not name."""
    page = text_of(repository_root, "docs/configuration.md")
    for path, tree in modules(repository_root):
        for node in ast.walk(tree):
            name = node.value if isinstance(node, ast.Constant) else None
            if isinstance(name, str) and re.fullmatch(r"MODELOTA_[A-Z_]+[A-Z]", name):
                assert f"`{name}`" in page, f"{path}: {name}"


# -- routes


def test_every_route_is_documented(repository_root: Path) -> None:
    """The page has a section for exactly the routes of the agent's socket, and says rightly who may use each."""
    from modelota.agent import routes

    page = text_of(repository_root, "docs/socket-api.md")
    sections = re.findall(r"^### (.+)$", page, re.MULTILINE)
    described = {route for section in sections for route in re.findall(r"`([A-Z]+ /v1/[^`]+)`", section)}
    rights = dict(re.findall(r"^\| `([A-Z]+ /v1/[^`]+)` \| (see|decide|remove) \|$", page, re.MULTILINE))
    in_code = {f"{method} {path}": route.right for (method, path), route in routes.ROUTES.items()}
    assert rights == in_code
    assert described == set(in_code)


# -- words and links


def test_the_glossary_has_every_word(repository_root: Path) -> None:
    """Each word of the vocabulary has a meaning and a Chinese word."""
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text_of(repository_root, "docs/glossary.md"), re.MULTILINE
    )
    words = {word.strip(): chinese for word, chinese, _ in rows}
    for word in WORDS:
        assert word in words, word
        assert re.search(r"[\u4e00-\u9fff]", words[word]), word
    assert len(words) == len(rows), "a word is there twice"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_internal_link_resolves(repository_root: Path) -> None:
    """No page of the project links to a file or heading that is not there."""
    broken = []
    for page in pages(repository_root):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            known = (
                anchors(file.read_text(encoding="utf-8"))
                if anchor and file.is_file() and file.suffix == ".md"
                else {anchor}
            )
            if not file.exists() or anchor not in known:
                broken.append(f"{page.relative_to(repository_root)}: {target}")
    assert not broken, "\n".join(broken)


def test_every_page_is_reachable_from_the_readme(repository_root: Path) -> None:
    """Following links from the README leads to every page under docs/."""
    seen: set[Path] = set()
    waiting = [repository_root / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)[^)]*\)", page.read_text(encoding="utf-8"))
        waiting.extend((page.parent / link).resolve() for link in links)
    missing = [str(page.relative_to(repository_root)) for page in pages(repository_root / "docs") if page not in seen]
    assert not missing


def outline(text: str) -> list[tuple[int, int]]:
    """Per section: the depth of its heading, and how many code blocks and tables it has."""
    parts = re.split(r"^(#+) .+$", re.sub(r"```.*?```", "<block>", text, flags=re.DOTALL), flags=re.MULTILINE)
    counts = [body.count("<block>") + len(re.findall(r"^\|[-|]+\|$", body, re.MULTILINE)) for body in parts[2::2]]
    return list(zip([len(mark) for mark in parts[1::2]], counts, strict=True))


def test_the_chinese_readme_has_the_same_sections(repository_root: Path) -> None:
    """Both READMEs have the same outline, with the same number of examples and tables in each section."""
    english, chinese = (outline(text_of(repository_root, name)) for name in ("README.md", "README.zh-CN.md"))
    assert len(english) > 5
    assert english == chinese


# -- commands


def shell_lines(root: Path) -> Iterator[tuple[Path, str]]:
    for page in pages(root):
        for block in re.findall(r"```(?:sh|console)?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                yield page, line.removeprefix("$ ").strip()


def test_every_make_target_that_is_mentioned_exists(repository_root: Path) -> None:
    """`make x` in a document works."""
    targets = set(re.findall(r"^([a-z]+):", text_of(repository_root, "Makefile"), re.MULTILINE))
    for page in pages(repository_root):
        for target in re.findall(r"`make ([a-z]+)[^`]*`", page.read_text(encoding="utf-8")):
            assert target in targets, f"{page}: make {target}"
    for page, line in shell_lines(repository_root):
        if line.startswith("make "):
            assert line.split()[1] in targets, f"{page}: {line}"


def test_every_command_that_is_shown_exists(repository_root: Path) -> None:
    """`modelota …` in a code block of a document names a real command (its options are not looked at)."""
    commands = {
        tuple(word for word in line.split()[1:3] if re.fullmatch(r"[a-z]+", word))
        for _, line in shell_lines(repository_root)
        if line.startswith("modelota ")
    }
    assert len(commands) >= 4
    for words in sorted(commands):
        result = subprocess.run(
            [sys.executable, "-m", "modelota.cli.main", *words, "--help"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"modelota {' '.join(words)}: {result.stderr}"


# -- what must not be there


FORBIDDEN = {
    "a path outside the repository": re.compile(r"(?:^|[\s\"'`(=:])/(?:work|root)/"),
    "unfinished work": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b"),
    "an index's address": re.compile(r"pypi\." r"org|python" r"hosted|pypi\.tuna|mirrors\.aliyun", re.IGNORECASE),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_has(repository_root: Path, what: str) -> None:
    """No file names a place on somebody's machine or an index, or marks unfinished work."""
    here = Path(__file__).resolve()
    found = []
    for path in files(repository_root):
        if path.resolve() == here:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(repository_root)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)
