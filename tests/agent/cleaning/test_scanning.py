from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.cleaning.conftest import MODEL_BYTES, Site, paths, random_bytes

from modelota.agent.anchoring import TAG
from modelota.agent.cleaning.plan import Finding, path_of
from modelota.agent.cleaning.registered import MARKER
from modelota.content.digest import digest_bytes

BLOCK = 4096
IS_ROOT = os.geteuid() == 0


def only(findings: tuple[Finding, ...]) -> Finding:
    (finding,) = findings
    return finding


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a/model.gguf", "Downloads/holiday.mov", ".hidden", b"two\nlines \xff\xfe\\x41", "名字 🙂", "-rf", "a" * 255],
)
def test_a_whole_copy_is_certain_whatever_its_name(site: Site, name: str | bytes) -> None:
    """A copy with another name and place is found by its content, and removed; its proof says where it comes from."""
    copy = site.put(name, site.model)
    plan = site.scan()
    finding = next(each for each in plan.findings if each.kind == "whole copy")
    assert path_of(finding.path) == str(copy)
    assert (finding.certainty, finding.size_bytes, finding.doubts) == ("certain", MODEL_BYTES, ())
    evidence = finding.evidence
    assert (evidence.by, evidence.version, evidence.file) == ("content", "1.1.1", "model.gguf")
    assert evidence.proven_bytes == MODEL_BYTES
    proof = site.apply(plan)
    assert not copy.exists()
    assert proof.count("refused") == 0


def test_a_copy_cut_at_a_block_is_certain(site: Site) -> None:
    """Every byte of a truncated copy that ends with a block is proven by anchors."""
    copy = site.put("part", site.model[: 20 * BLOCK])
    finding = next(each for each in site.scan().findings if each.kind == "truncated copy")
    assert (finding.certainty, finding.evidence.proven_bytes) == ("certain", 20 * BLOCK)
    site.clean()
    assert not copy.exists()


def test_a_copy_cut_anywhere_is_certain_beside_an_original(site: Site) -> None:
    """The last bytes, less than a block, are compared with a whole copy that was found in the same scan."""
    part, whole = site.put("x/part", site.model[: 20 * BLOCK + 17]), site.put("y/whole", site.model)
    plan = site.scan()
    assert paths(plan.findings, "certain") >= {str(part), str(whole)}
    site.apply(plan)
    assert not part.exists()
    assert not whole.exists()


def test_a_copy_cut_anywhere_is_probable_without_an_original(site: Site) -> None:
    """Without one its last bytes are not proven: it is listed, and goes only when it is named."""
    part = site.put("part", site.model[: 20 * BLOCK + 17])
    plan = site.scan()
    finding = next(each for each in plan.findings if each.kind == "truncated copy")
    assert (finding.certainty, finding.doubts) == ("probable", ("end-unproven",))
    assert finding.evidence.proven_bytes == 20 * BLOCK
    site.apply(plan)
    assert part.exists()
    site.apply(plan, finding)
    assert not part.exists()


def test_a_beginning_with_something_else_at_its_end_stays(site: Site) -> None:
    """Our first blocks and somebody's note after them are not a copy of ours, even beside a whole copy."""
    site.put("whole", site.model)
    note = site.put("note", site.model[: 20 * BLOCK] + b"remember the milk")
    longer = site.put("longer", site.model[: 20 * BLOCK] + random_bytes(3, 2 * BLOCK))
    proof = site.clean()
    assert proof.count("removed") >= 1
    assert note.exists()
    assert longer.exists()


@pytest.mark.parametrize(("start", "before"), [(30 * BLOCK, b""), (30 * BLOCK + 1234, b""), (10 * BLOCK, b"tar" * 171)])
def test_a_slice_is_probable(site: Site, start: int, before: bytes) -> None:
    """A part from the middle, cut or moved to any byte offset, is listed and goes only when it is named."""
    part = site.put("part", before + site.model[start : start + 40 * BLOCK])
    plan = site.scan()
    finding = next(each for each in plan.findings if each.kind == "slice")
    assert (finding.certainty, finding.doubts) == ("probable", ("slice",))
    assert finding.evidence.matched > finding.evidence.probes // 2
    site.apply(plan)
    assert part.exists()
    site.apply(plan, finding)
    assert not part.exists()


def test_a_tag_completes_a_proof_and_is_none_alone(site: Site) -> None:
    """A tagged truncated copy is certain; one with other content is listed; another model's tag says nothing."""
    part = site.put("part", site.model[: 20 * BLOCK + 17])
    other, foreign = (site.put(name, random_bytes(4, 50_000)) for name in ("other", "foreign"))
    try:
        os.setxattr(part, TAG, digest_bytes(site.model).encode())
        os.setxattr(other, TAG, digest_bytes(site.model).encode())
        os.setxattr(foreign, TAG, digest_bytes(b"another model").encode())
    except OSError:
        pytest.skip("this file system keeps no attributes")
    plan = site.scan()
    assert str(part) in paths(plan.findings, "certain")
    assert paths(plan.findings, "probable") == {str(other)}
    site.apply(plan)
    assert not part.exists()
    assert other.exists()
    assert foreign.exists()


def test_a_small_file_is_ours_only_beside_the_model(site: Site) -> None:
    """A tokenizer that others have too is ours in a copied model directory, and nobody's business elsewhere."""
    site.put("copy/model.gguf", site.model)
    ours, theirs = site.put("copy/tokenizer.json", site.tokenizer), site.put("other/tokenizer.json", site.tokenizer)
    plan = site.scan()
    assert str(theirs) not in paths(plan.findings, "certain") | paths(plan.findings, "probable")
    site.apply(plan)
    assert not ours.exists()
    assert theirs.exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("etc/systemd/system/modelota.service", "systemd unit"),
        ("usr/share/applications/modelota.desktop", "desktop entry"),
        ("usr/share/dbus-1/system-services/org.modelota.service", "D-Bus entry"),
        ("etc/dconf/db/local.d/modelota", "dconf key file"),
        ("etc/environment.d/90-modelota.conf", "environment file"),
        ("etc/polkit-1/rules.d/modelota.rules", "polkit rule"),
        ("etc/udev/rules.d/70-modelota.rules", "udev rule"),
        ("etc/sudoers.d/modelota", "sudoers entry"),
    ],
)
def test_a_registered_file_is_certain_while_it_is_what_was_written(site: Site, name: str, kind: str) -> None:
    """What the ledger names goes; once someone changed it, it is only listed."""
    path = site.registered(name, kind)
    finding = next(each for each in site.scan(deep=False).findings if each.kind == kind)
    assert finding.certainty == "certain"
    path.write_bytes(b"# ours, and a line of the administrator's\n")
    plan = site.scan(deep=False)
    changed = next(each for each in plan.findings if each.kind == kind)
    assert (changed.certainty, changed.doubts) == ("probable", ("changed",))
    site.apply(plan)
    assert path.exists()
    path.write_bytes(b"# ours\n")
    site.apply(site.scan(deep=False))
    assert not path.exists()


def test_a_registered_file_without_digest_needs_our_mark(site: Site) -> None:
    """Where the ledger kept no digest, the file itself has to say who wrote it."""
    ours, other = site.put("etc/one", b"# " + MARKER + b"\n"), site.put("etc/two", b"# somebody\n")
    site.note(ours, "environment file")
    site.note(other, "environment file")
    plan = site.scan(deep=False)
    assert str(ours) in paths(plan.findings, "certain")
    assert str(other) in paths(plan.findings, "probable")


def test_units_are_reloaded_when_one_goes(site: Site) -> None:
    """A link that enables a unit goes with it, and systemd is told."""
    unit = site.registered("etc/systemd/system/modelota.service", "systemd unit")
    link = site.disk / "etc/systemd/system/multi-user.target.wants/modelota.service"
    link.parent.mkdir()
    link.symlink_to("../modelota.service")
    site.note(link, "link", digest_bytes(b"../modelota.service"))
    proof = site.apply(site.scan(deep=False))
    assert not unit.exists()
    assert not link.is_symlink()
    assert ("systemctl", "daemon-reload") in site.ran
    assert proof.reloaded == ("systemctl daemon-reload",)


def test_a_link_to_elsewhere_is_not_ours(site: Site) -> None:
    """A link whose target somebody changed is listed, and neither it nor its target goes."""
    target = site.put("etc/precious", b"precious")
    link = site.disk / "etc/link"
    link.symlink_to("precious")
    site.note(link, "link", digest_bytes(b"../modelota.service"))
    plan = site.scan(deep=False)
    assert str(link) in paths(plan.findings, "probable")
    site.apply(plan)
    assert link.is_symlink()
    assert target.exists()


def test_own_places_go_as_a_whole(site: Site) -> None:
    """Caches, logs, temporaries, sockets, pipes and empty directories below the own root, read-only ones included."""
    slot = site.root / "models" / "acme" / "assistant" / "slots" / "1.1.1+default"
    (slot / "cache" / "deep").mkdir(parents=True)
    (slot / "cache" / "deep" / "kv.bin").write_bytes(b"1")
    (slot / "log").mkdir()
    (slot / "log" / "engine.log").write_bytes(b"2")
    (slot / "files").mkdir()
    (slot / "files" / "model.gguf").write_bytes(b"3")
    (slot / "files").chmod(0o555)
    (site.root / ".agent.tmp").write_bytes(b"4")
    (site.root / "link").symlink_to("/etc")
    os.mkfifo(site.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        descriptor = os.open(site.root, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{descriptor}/s")
        os.close(descriptor)
    plan = site.scan(deep=False)
    assert {each.kind for each in plan.findings} >= {"file", "socket", "pipe", "link", "directory"}
    proof = site.apply(plan)
    assert proof.count("refused") == 0
    assert not site.root.exists()


def test_entries_that_are_no_files(site: Site) -> None:
    """A keyring entry of ours goes, one that somebody replaced is listed, one that cannot be seen is told of."""
    site.keyring.there = {"modelota/ours": "d1", "modelota/changed": "d9"}
    for name, digest in (("ours", "d1"), ("changed", "d2"), ("never", "d3")):
        site.note(Path(f"keyring:modelota/{name}"), "keyring entry", digest)
    plan = site.scan(deep=False)
    entries = {each.path: each.certainty for each in plan.findings if each.kind == "keyring entry"}
    assert entries == {"keyring:modelota/ours": "certain", "keyring:modelota/changed": "probable"}
    site.apply(plan)
    assert site.keyring.there == {"modelota/changed": "d9"}
    site.keyring.broken = True
    assert {each.reason for each in site.scan(deep=False).spared} == {"cannot-tell"}


# -- what stays --------------------------------------------------------------------------------------------------------


def test_same_size_and_same_head_stay(site: Site) -> None:
    """Neither the size nor the first blocks make a copy; nor does another model of the family."""
    decoys = [
        site.put("same-size", random_bytes(5, MODEL_BYTES)),
        site.put("same-head", site.model[:BLOCK] + random_bytes(6, MODEL_BYTES - BLOCK)),
        site.put("last-byte", site.model[:-1] + bytes([site.model[-1] ^ 1])),
        site.put("family", site.model[: 10 * BLOCK] + random_bytes(7, MODEL_BYTES)),
        site.put("longer", site.model + b"x"),
        site.put("zeros", bytes(MODEL_BYTES)),
        site.put("empty", b""),
    ]
    plan = site.scan()
    assert not paths(plan.findings, "certain") & {str(each) for each in decoys}
    site.apply(plan)
    assert all(each.exists() for each in decoys)


def test_a_hard_linked_copy_stays(site: Site) -> None:
    """A copy with a second name is listed: the other name may be somebody's."""
    copy = site.put("copy", site.model)
    (site.disk / "other-name").hardlink_to(copy)
    plan = site.scan()
    assert paths(plan.findings, "probable") == {str(copy), str(site.disk / "other-name")}
    site.apply(plan)
    assert copy.exists()


def test_a_registered_name_of_a_hard_linked_file_goes(site: Site) -> None:
    """Of a file with two names only the one that the ledger names goes."""
    ours = site.registered("etc/modelota.conf", "environment file")
    other = site.disk / "etc" / "backup.conf"
    other.hardlink_to(ours)
    site.apply(site.scan())
    assert not ours.exists()
    assert other.exists()


def test_what_a_package_owns_stays(site: Site) -> None:
    """A copy that dpkg lists, also through a linked directory or a diversion, is spared and cannot be named."""
    copies = [site.put(f"usr/lib/{name}", site.model) for name in ("listed", "merged", "diverted")]
    (site.disk / "lib").symlink_to("usr/lib")
    information = site.place / "dpkg" / "info"
    information.mkdir(parents=True)
    (information / "vendor.list").write_text(f"/.\n{copies[0]}\n{site.disk}/lib/merged\n")
    (site.place / "dpkg" / "diversions").write_text(f"/elsewhere\n{copies[2]}\nvendor\n")
    registered = site.registered("etc/vendor.conf", "environment file")
    with (information / "vendor.list").open("a") as file:
        file.write(f"{registered}\n")
    plan = site.scan()
    assert {each.path: each.reason for each in plan.spared} == {
        str(each): "package-owned" for each in (*copies, registered)
    }
    site.apply(plan)
    assert all(each.exists() for each in (*copies, registered))


def test_without_the_package_database_nothing_is_certain_where_packages_install(site: Site) -> None:
    """Beside a database that is not read here, a copy below /usr could be a package's."""
    (site.place / "system" / "var" / "lib" / "rpm").mkdir(parents=True)
    packages = site.system().packages
    assert not packages.can_tell("/usr/share/model.gguf")
    assert packages.can_tell("/home/user/model.gguf")


@pytest.mark.parametrize("store", [".ollama/models/blobs", ".cache/huggingface/hub", "var/lib/docker/overlay2"])
def test_a_copy_in_another_applications_store_stays(site: Site, store: str) -> None:
    """The same content in another application's store is that application's: listed, not taken."""
    copy = site.put(f"home/user/{store}/sha256-1", site.model)
    plan = site.scan()
    assert paths(plan.findings, "probable") == {str(copy)}
    site.apply(plan)
    assert copy.exists()


def test_a_copy_in_another_agents_root_stays(site: Site) -> None:
    """A second agent on the same device has the same model: it is not ours."""
    site.put("srv/other/agent.db", b"")
    copy = site.put("srv/other/models/acme/assistant/slots/1.1.1+default/files/model.gguf", site.model)
    plan = site.scan()
    assert paths(plan.findings, "probable") == {str(copy)}
    site.apply(plan)
    assert copy.exists()


def test_an_open_file_stays(site: Site) -> None:
    """A copy that some process has open, or mapped, is spared; one opened after the scan is refused."""
    opened, mapped, later = (site.put(name, site.model) for name in ("opened", "mapped", "later"))
    program = (
        "import mmap, sys\n"
        "a = open(sys.argv[1]); f = open(sys.argv[2], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
        "f.close(); print('ready', flush=True); b = open(sys.stdin.readline().strip()); print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(opened), str(mapped)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        plan = site.scan()
        assert {each.path: each.reason for each in plan.spared} == {str(opened): "in-use", str(mapped): "in-use"}
        process.stdin.write(f"{later}\n")
        process.stdin.flush()
        process.stdout.readline()
        proof = site.apply(plan)
        assert [(each.result, each.reason) for each in proof.removals if each.path == str(later)] == [
            ("refused", "in-use")
        ]
        process.stdin.write("\n")
        process.stdin.flush()
    assert opened.exists()
    assert mapped.exists()
    assert later.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files to another user")
def test_another_users_copy_stays(site: Site) -> None:
    """A copy of another user's is that user's, and listed."""
    copy = site.put("home/else/model.gguf", site.model)
    os.chown(copy, 12345, 12345)
    plan = site.scan()
    finding = only(tuple(each for each in plan.findings if each.kind == "whole copy"))
    assert (finding.certainty, finding.doubts) == ("probable", ("other-user",))
    site.apply(plan)
    assert copy.exists()


def test_the_agents_own_user_need_not_run_the_cleaning(site: Site) -> None:
    """When the agent was another user's, copies of that user are certain, and those of whoever cleans are not."""
    site.owner_uid = os.geteuid() + 1
    copy = site.put("copy", site.model)
    plan = site.scan()
    assert str(copy) in paths(plan.findings, "probable")


def test_what_came_after_the_record_stays(site: Site) -> None:
    """Files at the place of the former root that are newer than the record are not taken for the agent's."""
    mine = site.root / "notes.txt"
    mine.write_bytes(b"mine")
    record = site.record(recorded_ns=mine.stat().st_ctime_ns - 1)
    from modelota.agent.cleaning.knowledge import of_record
    from modelota.agent.cleaning.scanning import scan

    plan = scan(of_record(record), site.system(), deep=False)
    finding = next(each for each in plan.findings if each.path == str(mine))
    assert (finding.certainty, finding.doubts) == ("probable", ("newer-than-record",))
    site.apply(plan)
    assert mine.exists()


def test_a_place_that_others_may_write_to_is_not_ours(site: Site) -> None:
    """A root that was opened for everybody holds what anybody put there."""
    (site.root / "file").write_bytes(b"1")
    site.root.chmod(0o777)
    assert not paths(site.scan(deep=False).findings, "certain")


def test_a_new_agent_at_the_old_place_is_off_limits(site: Site) -> None:
    """A root that has a database again belongs to an agent that was set up anew."""
    (site.root / "agent.db").write_bytes(b"")
    (site.root / "model.gguf").write_bytes(site.model)
    site.note(site.root / "model.gguf", "slot file")
    assert site.scan().findings == ()


# -- hostile trees -----------------------------------------------------------------------------------------------------


def test_links_and_loops_are_not_followed(site: Site, tmp_path: Path) -> None:
    """Links to directories, to themselves, and out of the file system lead nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.gguf").write_bytes(site.model)
    (site.disk / "out").symlink_to(outside)
    (site.disk / "up").symlink_to("..")
    (site.disk / "self").symlink_to("self")
    (site.disk / "file").symlink_to(outside / "model.gguf")
    plan = site.scan()
    assert plan.findings == only_directories(plan.findings)
    site.apply(plan)
    assert (outside / "model.gguf").exists()


def only_directories(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(each for each in findings if each.kind == "directory")


def test_a_huge_directory_and_a_deep_one(site: Site) -> None:
    """Two thousand names in one directory, and a path longer than the system takes, are walked as far as one can."""
    many = site.disk / "many"
    many.mkdir()
    for number in range(2_000):
        os.close(os.open(many / f"{number}", os.O_CREAT | os.O_WRONLY))
    copy = site.put("many/copy", site.model)
    descriptor = os.open(site.disk, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=descriptor)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    plan = site.scan()
    assert plan.files_seen >= 2_001
    assert plan.unreadable >= 1
    site.apply(plan)
    assert not copy.exists()
    shutil.rmtree(many)


def test_pipes_and_sockets_are_not_opened(site: Site) -> None:
    """A named pipe does not make the scan wait."""
    os.mkfifo(site.disk / "pipe")
    assert site.scan().files_seen == 1


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_what_may_not_be_read_is_counted(site: Site) -> None:
    """A directory that this user may not enter is counted, and the scan goes on."""
    closed = site.disk / "closed"
    closed.mkdir(mode=0)
    copy = site.put("copy", site.model)
    plan = site.scan()
    closed.chmod(0o700)
    assert plan.unreadable == 1
    assert str(copy) in paths(plan.findings, "certain")


def test_progress_is_told_and_can_end_the_scan(site: Site) -> None:
    """The scan reports how far it is; an exception from there ends it, and nothing has changed."""
    from modelota.agent.cleaning.scanning import scan

    copy = site.put("copy", site.model)
    told: list[tuple[int, int | None]] = []
    scan(site.knowledge(), site.system(), deep=True, report=lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(site.knowledge(), site.system(), deep=True, report=stop)
    assert copy.exists()


def test_two_scans_of_the_same_disk_have_the_same_digest(site: Site) -> None:
    """A confirmation names a digest, so it must not depend on what else happens on the device."""
    site.put("copy", site.model)
    first = site.scan()
    site.put("unrelated", b"1")
    second = site.scan()
    assert first.digest == second.digest
    site.put("another", site.model)
    assert site.scan().digest != first.digest
