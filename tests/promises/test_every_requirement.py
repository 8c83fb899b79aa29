"""All 51 requirements have a row; each is measured, or says why not; none is passed by a constant."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from modelota.conformance import REQUIREMENTS
from modelota.conformance.checks import CHECKS
from modelota.conformance.checks.of_device import DEVICE_CHECKS
from modelota.conformance.checks.of_repository import REPOSITORY_CHECKS
from modelota.conformance.unmeasured import UNMEASURED

ROW = re.compile(r"^\| (\d[\d.]*(?:-[a-e])?) \|", re.MULTILINE)


def test_the_registry_is_the_standard(repository_root: Path) -> None:
    """The 51 ids of the requirements page, in its order, each in both languages."""
    page = (repository_root / "docs" / "requirements.md").read_text(encoding="utf-8")
    assert list(REQUIREMENTS) == ROW.findall(page)
    assert len(REQUIREMENTS) == 51
    for identity, text in REQUIREMENTS.items():
        assert re.search(r"[\u4e00-\u9fff]{2}", text.zh), identity
        assert re.search(r"[a-z]{3}", text.en), identity
        assert not re.search(r"[\u4e00-\u9fff]", text.en), identity


def test_each_is_measured_or_says_why_not() -> None:
    """A requirement has a check or a reason, never both and never neither."""
    assert set(CHECKS) | set(UNMEASURED) == set(REQUIREMENTS)
    assert not set(CHECKS) & set(UNMEASURED)
    assert set(DEVICE_CHECKS) | set(REPOSITORY_CHECKS) <= set(CHECKS)
    for identity, reason in UNMEASURED.items():
        assert len(reason.zh) > 5, identity
        assert len(reason.en) > 10, identity


def test_each_check_names_its_requirement() -> None:
    """The first words of a check's docstring are the id it measures."""
    for checks in (CHECKS, DEVICE_CHECKS, REPOSITORY_CHECKS):
        for identity, check in checks.items():
            assert (check.__doc__ or "").startswith(f"{identity}: "), check


def test_no_row_is_passed_by_a_constant(repository_root: Path) -> None:
    """Only the examination makes a row pass, and no claim is a literal."""
    room = repository_root / "src" / "modelota" / "conformance"
    for path in sorted(room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(room)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant) and node.value == "passed":
                assert path.name == "row.py" or is_compared(node, path), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "claim":
                assert len(node.args) >= 2, where
                assert not isinstance(node.args[1], ast.Constant), where


def is_compared(constant: ast.Constant, path: Path) -> bool:
    """Whether a literal stands in a comparison: what the product said about itself, such as a test's verdict."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compared = {
        (inner.lineno, inner.col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant)
    }
    return (constant.lineno, constant.col_offset) in compared


def test_checks_do_not_import_what_they_measure(repository_root: Path) -> None:
    """The room reaches the product through its commands, its socket and HTTP only.

    What it may import: simulators, the TOML writer for descriptions, errors, and the printing of units and languages.
    """
    room = repository_root / "src" / "modelota" / "conformance"
    allowed = ("modelota.conformance", "modelota.testing", "modelota.errors", "modelota.i18n")
    for path in sorted(room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelota"):
                names = {alias.name for alias in node.names}
                writer = node.module == "modelota.repository" and names == {"toml"}
                assert writer or (node.module or "").startswith(allowed), f"{path.name}: {node.module} {names}"
