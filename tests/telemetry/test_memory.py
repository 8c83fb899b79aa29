"""Memory of a process tree, against what was really taken and against psutil."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from modelota.telemetry.memory import process_tree, room_beside, tree_memory

MIB = 1 << 20
HOLD = """
import mmap, subprocess, sys
anonymous, path, children = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
block = bytearray(b"x" * anonymous)
if path:
    file = open(path, "rb")
    view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    sum(view[::4096])
again = [sys.executable, sys.argv[0], str(anonymous), path, "0"]
held = [subprocess.Popen(again, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(children)]
for child in held:
    child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(script: Path, anonymous: int, path: str = "", children: int = 0) -> Iterator[int]:
    """A process tree that holds memory; its root's id."""
    script.write_text(HOLD)
    command = [sys.executable, str(script), str(anonymous), path, str(children)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_anonymous_memory_of_the_whole_tree_is_counted(tmp_path: Path) -> None:
    """64 MiB each in a parent and two children are seen as three times 64 MiB, within 2 MiB."""
    script = tmp_path / "hold.py"
    with holding(script, 0, children=2) as pid:
        empty = tree_memory(pid)
    with holding(script, 64 * MIB, children=2) as pid:
        full = tree_memory(pid)
    assert empty.processes == full.processes == 3
    assert full.anon_bytes is not None
    assert empty.anon_bytes is not None
    assert abs(full.anon_bytes - empty.anon_bytes - 3 * 64 * MIB) < 2 * MIB


def test_shared_weights_are_counted_once(tmp_path: Path) -> None:
    """A file that three processes map is in the sum once; summing resident sizes would count it three times."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(os.urandom(32 * MIB))
    script = tmp_path / "hold.py"
    with holding(script, 0, children=2) as pid:
        empty = tree_memory(pid)
    with holding(script, 0, str(weights), children=2) as pid:
        full = tree_memory(pid)
    assert None not in (full.file_bytes, empty.file_bytes, full.rss_bytes, empty.rss_bytes)
    # Interpreter pages shared with unrelated processes move a little between the two readings.
    assert abs(full.file_bytes - empty.file_bytes - 32 * MIB) < 4 * MIB  # type: ignore[operator]
    assert abs(full.rss_bytes - empty.rss_bytes - 3 * 32 * MIB) < 4 * MIB  # type: ignore[operator]


def test_it_agrees_with_psutil(tmp_path: Path) -> None:
    """Another reader of the same kernel figures, over another way of finding children, sums to the same."""
    with holding(tmp_path / "hold.py", 8 * MIB, children=1) as pid:
        mine = tree_memory(pid)
        root = psutil.Process(pid)
        theirs = sum(process.memory_full_info().pss for process in [root, *root.children(recursive=True)])
        assert set(process_tree(pid)) == {pid, *(child.pid for child in root.children(recursive=True))}
    assert mine.pss_bytes is not None
    assert abs(mine.pss_bytes - theirs) < MIB


def test_a_process_that_is_gone_is_unknown_and_not_zero() -> None:
    """Neither an ended process nor a zombie has a memory of 0."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet collected: a zombie
    zombie = tree_memory(process.pid)
    process.wait()
    gone = tree_memory(process.pid)
    for reading in (zombie, gone):
        assert reading.pss_bytes is reading.anon_bytes is reading.file_bytes is reading.shmem_bytes is None
        assert reading.reason


def test_an_unreadable_member_makes_the_sum_unknown(tmp_path: Path) -> None:
    """A sum that lacks a part is not given out as the whole."""
    write_process(tmp_path, 10, children="11", rollup="Rss: 8 kB\nPss: 8 kB\nPss_Anon: 4 kB\n")
    write_process(tmp_path, 11, children="", rollup=None)
    (tmp_path / "11" / "smaps_rollup").mkdir()  # reading it fails with something else than absence
    reading = tree_memory(10, proc=tmp_path)
    assert reading.pss_bytes is None
    assert reading.reason == "process 11 cannot be read: IsADirectoryError"


def test_old_kernels_are_understood_or_unknown(tmp_path: Path) -> None:
    """Without the children file the tree is found by parents; without smaps_rollup the reading says so."""
    write_process(tmp_path, 10, children=None, rollup="Rss: 8 kB\nPss: 6 kB\nPss_Anon: 4 kB\nPss_File: 2 kB\n")
    write_process(tmp_path, 11, children=None, parent=10, rollup="Pss: 10 kB\nPss_Anon: 10 kB\n")
    write_process(tmp_path, 12, children=None, parent=11, rollup="Pss: 1 kB\n")
    write_process(tmp_path, 13, children=None, parent=1, rollup="Pss: 999 kB\n")
    assert process_tree(10, proc=tmp_path) == [10, 11, 12]
    reading = tree_memory(10, proc=tmp_path)
    assert (reading.pss_bytes, reading.anon_bytes, reading.processes) == (17 * 1024, 14 * 1024, 3)
    write_process(tmp_path, 20, children="", rollup=None)
    assert tree_memory(20, proc=tmp_path).reason == "kernel without smaps_rollup"
    assert tree_memory(21, proc=tmp_path).reason == "no such process, or no procfs"


def write_process(proc: Path, pid: int, *, children: str | None, rollup: str | None, parent: int = 1) -> None:
    """A process in a made-up procfs; its command tries to confuse readers of `stat`."""
    folder = proc / str(pid)
    task = folder / "task" / str(pid)
    task.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (a) R 99 (b) S {parent} 0 0\n")
    if children is not None:
        (task / "children").write_text(children)
    if rollup is not None:
        (folder / "smaps_rollup").write_text("00400000-ffffffff ---p 00000000 00:00 0 [rollup]\n" + rollup)


@pytest.mark.parametrize("pid", [0, -1, 1 << 30])
def test_nonsense_ids_are_unknown(pid: int) -> None:
    """An id that cannot be a process is no process."""
    assert tree_memory(pid).reason


def test_the_room_beside_an_engine(tmp_path: Path) -> None:
    """What is available, less what the engine maps; less where a control group allows less; unknown without procfs."""
    assert room_beside(7, base=tmp_path) is None
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert room_beside(7, base=tmp_path) == 4000 * 1024  # what it maps can't be read: nothing is taken off
    (proc / "7/smaps_rollup").write_text("Rss: 9 kB\nPss: 9 kB\nPss_Anon: 1 kB\nPss_File: 1500 kB\nPss_Shmem: 0 kB\n")
    assert room_beside(7, base=tmp_path) == 2500 * 1024
    (proc / "self").mkdir()
    (proc / "self/cgroup").write_text("0::/device\n")
    group = tmp_path / "sys/fs/cgroup/device"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{2000 * 1024}\n")
    (group / "memory.current").write_text(f"{500 * 1024}\n")
    (group / "memory.stat").write_text("inactive_file 0\n")
    assert room_beside(7, base=tmp_path) == 1500 * 1024
    (proc / "meminfo").write_text("MemAvailable: soon\n")
    assert room_beside(7, base=tmp_path) is None


MEMORY_FILE = """
import mmap, os, subprocess, sys
size = 32 << 20
fd = os.memfd_create("held", 0)
for _ in range(32):
    os.write(fd, b"x" * (1 << 20))
if sys.argv[1] == "mapped":
    view = mmap.mmap(fd, size, prot=mmap.PROT_READ)
    sum(view[::4096])
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(fd,))
print("ready", flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""


@pytest.mark.parametrize("how", ["mapped", "unmapped"])
def test_memory_files_count_once_mapped_or_not(how: str) -> None:
    """A model that was opened into memory is counted as shared memory, though no process may have it mapped."""
    command = [sys.executable, "-c", MEMORY_FILE, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        reading = tree_memory(process.pid)
        process.stdin.close()
    assert reading.shmem_bytes is not None
    assert reading.pss_bytes is not None
    assert abs(reading.shmem_bytes - 32 * MIB) < MIB
    assert 32 * MIB < reading.pss_bytes < 64 * MIB
