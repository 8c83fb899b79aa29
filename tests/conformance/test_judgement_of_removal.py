"""Checks of uninstalling and cleaning notice a product that does wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.owners_told import good_owner

from modelota.conformance.chapters.attempts import Attempt
from modelota.conformance.chapters.cleaned import Cleaned
from modelota.conformance.chapters.planting import Tree, plant, state_of
from modelota.conformance.chapters.removals import Removal, Removals
from modelota.conformance.checks import clause_7_3, clause_7_4
from modelota.conformance.commands import Done
from modelota.conformance.readings import Entry
from modelota.conformance.row import Examination

ROOT = Path("/r")
PLACE = ROOT / "models" / "v" / "m"
SLOT = PLACE / "slots" / "1+v"
FILE = SLOT / "files" / "model"
NOTES = PLACE / "userdata" / "notes.txt"
UNIT, LINK = Path("/u/m.service"), Path("/u/w/m.service")


class Told:
    """A stage whose chapters are already known."""

    def __init__(self, **chapters: Any) -> None:
        self._chapters = {"owners": good_owner(), **chapters}

    def chapter(self, tell: Callable[..., Any]) -> Any:
        return self._chapters[tell.__name__]


def status(check: Callable[[Any], Examination], **chapters: Any) -> str:
    return check(Told(**chapters)).row("x", "en").status


def census(*paths: Path) -> dict[Path, Entry]:
    return {path: Entry((1, number), 4096) for number, path in enumerate(paths)}


def uninstalled(reason: str, language: str) -> Removal:
    items = [{"path": str(SLOT), "kind": "slot", "size_bytes": 8192, "result": "removed"}]
    text = {"zh": f"已卸载 {SLOT}", "en": f"removed {SLOT}"}
    return Removal(
        shown=text,
        plan={"items": items},
        done=Done((), 0, text[language], ""),
        language=language,
        proof={"reason": reason, "items": items},
        before=census(ROOT, PLACE, PLACE / "slots", SLOT, FILE, NOTES.parent, NOTES),
        after=census(ROOT, PLACE, NOTES.parent, NOTES),
    )


def told() -> Removals:
    codes = clause_7_3._CODES
    config, keys = ROOT / "config.toml", ROOT / "keys"
    items = [{"path": str(path), "size_bytes": 4096, "result": "removed"} for path in (ROOT, UNIT, LINK)]
    agent = Removal(
        shown={},
        plan={},
        done=Done((), 0, f"已移除 {ROOT}", ""),
        language="zh",
        proof={"items": items},
        before=census(ROOT, config, keys),
        after={},
        units_before=census(UNIT.parent, UNIT, LINK),
        units_after=census(UNIT.parent),
    )
    return Removals(
        root=ROOT,
        place=PLACE,
        undone={name: Attempt("", True, code) for name, code in codes.items()},
        lost=[],
        prompted=Done((), 64, "“modelota device backup FILE” keeps a copy", ""),
        ended="2026-11-24T00:00:00Z",
        by_user=uninstalled("user", "zh"),
        stranger_left=False,
        by_end=uninstalled("end-of-service", "en"),
        agent=agent,
        record=Path("/record"),
        sources=[],
    )


def accept_anything(seen: Removals) -> None:
    seen.undone["without-confirmation"] = Attempt("", False, None)


def ask_nothing(seen: Removals) -> None:
    seen.prompted = Done((), 64, "Type “uninstall”", "")


def lose(seen: Removals) -> None:
    seen.lost = ["/r/models/v/m/slots"]


def show_one_language(seen: Removals) -> None:
    seen.by_user.shown["en"] = seen.by_user.shown["zh"]


def show_less(seen: Removals) -> None:
    seen.by_end.shown["en"] = "something is removed"


def other_reason(seen: Removals) -> None:
    seen.by_end.proof["reason"] = "user"


def never_ended(seen: Removals) -> None:
    seen.ended = None


@pytest.mark.parametrize(
    "spoil", [accept_anything, ask_nothing, lose, show_one_language, show_less, other_reason, never_ended]
)
def test_confirmation(spoil: Callable[[Removals], None]) -> None:
    """A removal nobody confirmed, a reminder that is missing, a plan that is not shown: each is noticed."""
    assert status(clause_7_3.confirmed, removals=told()) == "passed"
    seen = told()
    spoil(seen)
    assert status(clause_7_3.confirmed, removals=seen) == "failed"


def leave_the_slot(seen: Removals) -> None:
    seen.by_user.after |= census(SLOT)


def remove_more(seen: Removals) -> None:
    del seen.by_user.after[NOTES]


def remove_elsewhere(seen: Removals) -> None:
    seen.by_user.before |= census(ROOT / "keys")


def boast(seen: Removals) -> None:
    seen.by_user.proof["items"][0]["size_bytes"] = 1 << 20


def keep_the_engine(seen: Removals) -> None:
    seen.by_user.engines = 1


def leave_a_file(seen: Removals) -> None:
    seen.by_user.after |= census(PLACE / "cache")


def say_nothing(seen: Removals) -> None:
    seen.by_user.done = Done((), 0, "好", "")


def keep_the_root(seen: Removals) -> None:
    seen.agent.after = census(ROOT)


def keep_the_unit(seen: Removals) -> None:
    seen.agent.units_after |= census(UNIT)


def prove_less(seen: Removals) -> None:
    del seen.agent.proof["items"][1]


def refuse(seen: Removals) -> None:
    seen.agent.proof["items"][1]["result"] = "refused"


@pytest.mark.parametrize(
    "spoil",
    [
        leave_the_slot,
        remove_more,
        remove_elsewhere,
        boast,
        keep_the_engine,
        leave_a_file,
        say_nothing,
        keep_the_root,
        keep_the_unit,
        prove_less,
        refuse,
    ],
)
def test_proof(spoil: Callable[[Removals], None]) -> None:
    """A proof that says other than the disk, and anything that is left or goes besides, is noticed."""
    assert status(clause_7_3.proven, removals=told()) == "passed"
    seen = told()
    spoil(seen)
    assert status(clause_7_3.proven, removals=seen) == "failed"


# -- 7.4: cleaning


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A planted tree with few decoys."""
    disk = tmp_path_factory.mktemp("disk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelota.conformance.chapters.planting.DECOYS_EACH", 2)
        patch.setattr("modelota.conformance.chapters.planting.LARGE_DECOYS_EACH", 1)
        return plant(disk, disk / "root", bytes(range(256)) * 512)


def test_what_is_planted(tree: Tree) -> None:
    """Enough residues and kinds for the demand, all of them there, every kind named by it; decoys are another thing."""
    assert len(tree.residues) >= 500
    named = {kind for kinds in clause_7_4.DEMANDED.values() for kind in kinds}
    assert set(tree.residues.values()) == named
    assert all(path.is_symlink() or path.exists() for path in (*tree.residues, *tree.decoys))
    assert not set(tree.residues) & set(tree.decoys)
    assert len(set(tree.kinds.values())) >= 12


def test_a_decoy_s_state_is_its_inode_and_content(tmp_path: Path) -> None:
    """Another file of the same content in its place is noticed, and so are another content and nothing at all."""
    path = tmp_path / "decoy"
    path.write_bytes(b"mine")
    states = [state_of(path)]
    path.with_name("other").write_bytes(b"mine")
    path.with_name("other").replace(path)
    states.append(state_of(path))
    path.write_bytes(b"ours")
    states.append(state_of(path))
    path.unlink()
    states.append(state_of(path))
    assert len(set(states)) == len(states)


def clean(tree: Tree, **changes: Any) -> Cleaned:
    first = str(next(iter(tree.residues)))
    fields: dict[str, Any] = {
        "tree": tree,
        "plan": {"findings": [{"path": first, "certainty": "certain"}], "files_seen": 1000},
        "shown": {"zh": f"遗留 {first}", "en": f"left {first}"},
        "undone": [],
        "named": ["b"],
        "done": Done((), 0, "", ""),
        "proof": {
            "removals": [
                {"id": "a", "path": "/nowhere/1", "result": "removed"},
                {"id": "b", "path": "/nowhere/2", "result": "removed"},
            ]
        },
        "left": [],
        "touched": [],
        "held": [],
        "seconds": 3.0,
        "scan_seconds": 1.0,
        "priorities": {"main": (0, (0, 0)), "cleaning": (19, (3, 0))},
    }
    return Cleaned(**{**fields, **copy.deepcopy(changes)})


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (clause_7_4.nothing_else, {"undone": ["x"]}),
        (clause_7_4.nothing_else, {"shown": {"zh": "x", "en": "x"}}),
        (clause_7_4.nothing_else, {"proof": {"removals": []}}),
        (clause_7_4.nothing_else, {"proof": {"removals": [{"id": "a", "path": "/", "result": "removed"}]}}),
        (clause_7_4.thorough, {"named": []}),
        (clause_7_4.thorough, {"named": ["a", "b"]}),
        (clause_7_4.undisturbing, {"seconds": 180.1}),
        (clause_7_4.undisturbing, {"priorities": {"cleaning": (19, (2, 4))}}),
        (clause_7_4.undisturbing, {"priorities": {"cleaning": (0, (3, 0))}}),
        (clause_7_4.undisturbing, {"priorities": {}}),
        (clause_7_4.undisturbing, {"plan": {"findings": [], "files_seen": 1}}),
    ],
)
def test_cleaning(tree: Tree, check: Callable[[Any], Examination], changes: dict[str, Any]) -> None:
    """What goes unconfirmed or unnamed, a proof that is not true, work that disturbs: each is noticed."""
    assert status(check, cleaned=clean(tree), removals=told()) == "passed"
    assert status(check, cleaned=clean(tree, **changes), removals=told()) == "failed"


def test_what_is_left_and_what_is_touched(tree: Tree) -> None:
    """One decoy is one too many; of the residues one in a hundred may stay, but none of those that are asked for."""
    residues, decoys = list(tree.residues), list(tree.decoys)
    few, many = residues[:5], residues[:6]
    for check in (clause_7_4.nothing_else, clause_7_4.thorough):
        assert status(check, cleaned=clean(tree, touched=decoys[:1]), removals=told()) == "failed"
    assert status(clause_7_4.thorough, cleaned=clean(tree, left=few), removals=told()) == "passed"
    assert status(clause_7_4.thorough, cleaned=clean(tree, left=many), removals=told()) == "failed"
    assert status(clause_7_4.nothing_else, cleaned=clean(tree, left=few), removals=told()) == "failed"
    left_by_itself = told()
    left_by_itself.stranger_left = True
    assert status(clause_7_4.thorough, cleaned=clean(tree), removals=left_by_itself) == "failed"
