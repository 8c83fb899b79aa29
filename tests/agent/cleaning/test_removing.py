from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.cleaning.conftest import Site, random_bytes

from modelota import faults
from modelota.agent.cleaning import removing
from modelota.agent.cleaning.plan import CleaningProof, FreeSpace
from modelota.errors import AskPerson

Swap = Callable[[Path, Path], None]


def replace_with_link(copy: Path, precious: Path) -> None:
    copy.unlink()
    copy.symlink_to(precious)


def replace_with_file(copy: Path, precious: Path) -> None:
    shutil.copy2(precious, copy.with_name("new"))
    copy.with_name("new").replace(copy)


def replace_directory_with_link(copy: Path, precious: Path) -> None:
    copy.parent.rename(copy.parent.with_name("moved"))
    copy.parent.symlink_to(precious.parent)


def replace_higher_directory_with_link(copy: Path, precious: Path) -> None:
    (precious.parent / copy.parent.name).mkdir()
    shutil.copy2(precious, precious.parent / copy.parent.name / copy.name)
    copy.parent.parent.rename(copy.parent.parent.with_name("moved"))
    copy.parent.parent.symlink_to(precious.parent)


def write_into(copy: Path, precious: Path) -> None:
    with copy.open("r+b") as file:
        file.write(b"mine now")


def touch_back(copy: Path, precious: Path) -> None:
    before = copy.stat()
    write_into(copy, precious)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "swap",
    [
        replace_with_link,
        replace_with_file,
        replace_directory_with_link,
        replace_higher_directory_with_link,
        write_into,
        touch_back,
    ],
)
def test_what_changed_after_it_was_shown_stays(site: Site, swap: Swap) -> None:
    """A file, or a directory above it, that was swapped or changed between showing and removing is refused."""
    copy = site.put("a/b/copy", site.model)
    precious = site.put("precious/copy", site.model)
    os.utime(precious, ns=(copy.stat().st_atime_ns, copy.stat().st_mtime_ns))
    plan = site.scan()
    swap(copy, precious)
    before = {path: path.read_bytes() for path in site.disk.rglob("*") if path.is_file()}
    only = tuple(each for each in plan.findings if each.path == str(copy))
    proof = site.apply(type(plan)(deep=True, findings=only))
    (removal,) = proof.removals
    assert (removal.result, removal.reason) == ("refused", "changed")
    assert {path: path.read_bytes() for path in site.disk.rglob("*") if path.is_file()} == before


def test_a_swap_in_the_last_moment_is_seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at again after its content was verified, right before it goes."""
    copy, precious = site.put("a/copy", site.model), site.put("precious", random_bytes(9, 100))
    plan = site.scan()
    digest_at = removing.digest_at

    def swapping(directory: int, name: str, seen: os.stat_result) -> str | None:
        digest = digest_at(directory, name, seen)
        if name == "copy":
            replace_with_file(copy, precious)
        return digest

    monkeypatch.setattr(removing, "digest_at", swapping)
    proof = site.apply(plan)
    assert [each.reason for each in proof.removals if each.path == str(copy)] == ["changed"]
    assert copy.read_bytes() == precious.read_bytes()


def test_what_is_gone_already_is_told_so(site: Site) -> None:
    """The same plan can be carried out again: what went before is gone, not refused."""
    copy = site.put("copy", site.model)
    plan = site.scan()
    first, second = site.apply(plan), site.apply(plan)
    assert not copy.exists()
    assert first.count("removed") == second.count("gone") == len(plan.findings)
    assert first.removed_bytes == len(site.model)
    assert second.removed_bytes == 0


def test_a_directory_with_something_of_others_in_it_stays(site: Site) -> None:
    """Directories go only when they are empty, from the deepest up."""
    ours = site.disk / "etc" / "modelota" / "deep"
    ours.mkdir(parents=True)
    for folder in (ours, ours.parent, ours.parent.parent):
        site.note(folder, "directory")
    site.put("etc/hosts", b"1")
    proof = site.apply(site.scan(deep=False))
    assert not ours.parent.exists()
    assert (site.disk / "etc" / "hosts").exists()
    assert [each.reason for each in proof.removals if each.result == "refused"] == ["not-empty"]


def test_only_probable_findings_can_be_named(site: Site) -> None:
    """An id that names no probable finding is refused before anything is removed."""
    copy = site.put("copy", site.model)
    plan = site.scan()
    with pytest.raises(AskPerson) as caught:
        removing.apply(plan, ["0123456789ab"], site.system())
    assert (caught.value.code, caught.value.params["detail"]) == ("argument-invalid", "unknown-finding")
    assert copy.exists()


def test_the_proof_has_every_path_and_the_space(site: Site) -> None:
    """The proof lists each finding with its bytes and result, and the free space before and after."""
    site.put("one", site.model)
    site.put("two", site.model)
    proof = site.clean()
    assert isinstance(proof, CleaningProof)
    assert {each.path for each in proof.removals} >= {str(site.disk / "one"), str(site.disk / "two")}
    assert all(isinstance(each, FreeSpace) and each.before_bytes for each in proof.free_space)
    assert proof.count("removed") == len(proof.removals)
    assert proof.began_at <= proof.ended_at


@pytest.mark.parametrize(
    ("name", "reason"), [("EACCES", "permission-denied"), ("EROFS", "read-only"), ("EIO", "disk-error")]
)
def test_an_error_is_told_and_the_rest_goes(site: Site, name: str, reason: str) -> None:
    """An error at one finding refuses that one, and cleaning again finishes."""
    copies = [site.put(f"{number}", site.model) for number in range(3)]
    plan = site.scan()
    faults.arm(f"clean.remove@2={name}")
    try:
        proof = site.apply(plan)
    finally:
        faults.arm("")
    refused = [each for each in proof.removals if each.result == "refused"]
    assert [each.reason for each in refused] == [reason]
    assert sum(each.exists() for each in copies) == 1
    site.clean()
    assert not any(each.exists() for each in copies)


def test_a_kill_loses_nothing(site: Site) -> None:
    """Killed at any finding, the next cleaning removes the rest."""
    copies = [site.put(f"{number}", site.model) for number in range(4)]
    plan = site.scan()
    for passage in range(1, len(plan.findings) + 1):
        child = os.fork()
        if child == 0:
            faults.arm(f"clean.remove@{passage}=kill")
            site.apply(plan)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
    site.clean()
    assert not any(each.exists() for each in copies)


def test_another_directory_under_the_same_name_stays(site: Site) -> None:
    """A directory that was made anew after it was shown is somebody else's, even when it is empty."""
    ours = site.disk / "etc" / "modelota"
    ours.mkdir(parents=True)
    site.note(ours, "directory")
    plan = site.scan(deep=False)
    ours.rename(ours.with_name("moved"))
    ours.mkdir()
    proof = site.apply(plan)
    assert [each.reason for each in proof.removals if each.path == str(ours)] == ["changed"]
    assert ours.is_dir()
