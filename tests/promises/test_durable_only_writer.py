"""One module writes to the device's disk; everything else asks it to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

WRITER = "storage/durable.py"
# What else may write, and why. A name ending in `/` is a whole room.
ALLOWED = {
    WRITER: "it is the writer",
    "storage/system_calls.py": "the writer's own system calls; nothing else imports them",
    "repository/": "runs at the publisher; its commit points are the object store's",
    "testing/": "simulators write into directories that tests own",
    "conformance/": "works in a disposable root",
    "cli/": "writes files that its user named on the command line",
}

# Single calls elsewhere, and why each is not the writer's business.
ALLOWED_CALLS = {
    ("storage/lock.py", "os.open"): "the lock on a root is taken before there is a Disk for it; it holds a process id",
    ("storage/database.py", "os.open"): "a new database is made private before SQLite, which writes it, opens it",
    (
        "storage/database.py",
        "Path.unlink",
    ): "the database's own reserve of space, a sibling like SQLite's -wal and -shm",
    ("delivery/trust.py", "Path.mkdir"): "the TUF client's cache: disposable, and written by that library itself",
    ("delivery/trust.py", "Path.unlink"): "the same cache",
    ("delivery/trust.py", "shutil.rmtree"): "the same cache",
    ("runtime/engine.py", "Path.mkdir"): "the engine's work directory, which goes with the engine",
    ("runtime/engine.py", "Path.unlink"): "the engine's socket, once the engine has ended",
    ("runtime/enginelog.py", "os.ftruncate"): "the engine's log, cut at its limit; it may be lost",
    ("delivery/stores.py", "Path.mkdir"): "a repository in a directory, at its publisher; a device only reads",
    ("delivery/stores.py", "Path.rename"): "the same repository",
    ("delivery/stores.py", "Path.unlink"): "the same repository",
    ("runtime/http_server.py", "Path.unlink"): "a Unix socket: it lives as long as its listener and holds no data",
    ("runtime/http_server.py", "Path.chmod"): "the same socket",
    ("runtime/http_server.py", "os.chown"): "the same socket",
    ("agent/short_command.py", "os.ftruncate"): "a file in memory, which bounds what a command may print",
    ("runtime/llamacpp_child.py", "Path.unlink"): "the engine's own socket, in the engine's process",
    ("runtime/command_child.py", "Path.unlink"): "the engine's own socket, in the engine's process",
    (
        "runtime/child.py",
        "Path.mkdir",
    ): "links to open files, in the engine's work directory, which goes with the engine",
    ("runtime/child.py", "Path.unlink"): "the same links",
    ("agent/desktop_screen.py", "os.open"): "a file of the user's session, in its runtime directory; it may be lost",
    ("agent/desktop_screen.py", "Path.rename"): "the same file",
    ("agent/desktop_screen.py", "Path.unlink"): "the same file",
    ("agent/terminals.py", "os.open"): "a terminal of somebody who is logged in, checked to be one",
    ("agent/autostart.py", "Path.rmdir"): "a directory for autostart that the agent made; never with anything in it",
    ("agent/service.py", "Path.rmdir"): "a directory of systemd's that the agent made; never with anything in it",
    ("runtime/child.py", "Path.symlink_to"): "the same links",
    ("agent/cleaning/removing.py", "os.unlink"): "residues lie anywhere; each is verified the moment before it goes",
    ("agent/cleaning/removing.py", "os.rmdir"): "directories of residues, when they are empty",
    ("agent/cleaning/removing.py", "Path.chmod"): "a read-only directory of the agent's own, so that it can be emptied",
}

OS_CALLS = {
    "rename", "renames", "replace", "remove", "unlink", "rmdir", "removedirs", "mkdir", "makedirs", "symlink", "link",
    "truncate", "ftruncate", "chmod", "chown", "mknod", "mkfifo", "utime",
}  # fmt: skip
OS_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}
PATH_METHODS = {
    "write_text", "write_bytes", "touch", "mkdir", "unlink", "rmdir", "rename", "symlink_to", "hardlink_to", "chmod",
}  # fmt: skip
WRITE_MODES = set("wax+")
OBJECTS_OF_THE_WRITER = {"disk", "durable"}  # a method called on one of these is the writer's own


def mode_of(call: ast.Call, position: int) -> str:
    """The mode argument of an open call, `r` when it has none, `+` when it can't be read off the source."""
    value = call.args[position] if len(call.args) > position else None
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "mode"), value)
    if value is None:
        return "r"
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else "+"


def receiver_of(function: ast.Attribute) -> str:
    """The last name before the method: `disk` in `self._disk.rename`."""
    value = function.value
    if isinstance(value, ast.Attribute):
        return value.attr.lstrip("_")
    return value.id.lstrip("_") if isinstance(value, ast.Name) else ""


def writes(call: ast.Call) -> str | None:
    """What the call does to the disk, or None."""
    function = call.func
    if isinstance(function, ast.Name):
        return "open for writing" if function.id == "open" and WRITE_MODES & set(mode_of(call, 1)) else None
    if not isinstance(function, ast.Attribute):
        return None
    receiver, method = receiver_of(function), function.attr
    found: str | None = None
    if receiver == "os":
        flags = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
        if method in OS_CALLS or (method == "open" and flags & OS_FLAGS):
            found = f"os.{method}"
    elif receiver in {"shutil", "tempfile"}:
        found = None if method in {"which", "disk_usage", "get_terminal_size", "gettempdir"} else f"{receiver}.{method}"
    elif receiver == "sqlite3" and method == "connect":
        found = "sqlite3.connect"
    elif receiver in OBJECTS_OF_THE_WRITER:
        found = None
    elif method in PATH_METHODS or (method == "replace" and len(call.args) == 1 and not call.keywords):
        found = f"Path.{method}"
    elif method == "open" and opens_path_for_writing(call):
        found = "Path.open for writing"
    return found


def opens_path_for_writing(call: ast.Call) -> bool:
    """Whether `x.open(…)` is `Path.open` with a mode that writes; `x` may as well be a cipher that opens a seal."""
    named = any(keyword.arg == "mode" for keyword in call.keywords)
    literal = bool(call.args) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    return (named or literal) and bool(WRITE_MODES & set(mode_of(call, 0)))


def violations(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (what := writes(node)):
            yield node.lineno, what


def is_allowed(name: str) -> bool:
    return any(name == entry or (entry.endswith("/") and name.startswith(entry)) for entry in ALLOWED)


def test_only_the_writer_writes(repository_root: Path) -> None:
    """No module outside the list creates, changes or removes anything on the disk."""
    package = repository_root / "src" / "modelota"
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        for line, what in violations(path.read_text(encoding="utf-8")):
            opener = name.startswith("storage/") and what == "sqlite3.connect"  # the storage room opens databases
            if not is_allowed(name) and not opener and (name, what) not in ALLOWED_CALLS:
                found.append(f"{name}:{line}: {what}")
    assert not found, "\n".join(found)


def test_only_the_writer_uses_its_system_calls(repository_root: Path) -> None:
    """Besides the writer, only the simulated disk of the tests knows the writer's system calls."""
    package = repository_root / "src" / "modelota"
    importers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "storage.system_calls import" in path.read_text(encoding="utf-8")
    }
    assert importers <= {WRITER, "testing/disk.py"}


def test_no_exception_is_left_over(repository_root: Path) -> None:
    """Every listed exception still exists; one whose call is gone leaves the list."""
    package = repository_root / "src" / "modelota"
    for name, what in ALLOWED_CALLS:
        source = (package / name).read_text(encoding="utf-8")
        assert what in {found for _, found in violations(source)}, f"{name} no longer does {what}"


@pytest.mark.parametrize(
    "planted",
    [
        "open(path, 'wb')",
        "open(path, mode=chosen)",
        "path.open('a')",
        "path.write_bytes(data)",
        "path.replace(target)",
        "self._path.rename(target)",
        "os.replace(a, b)",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "shutil.rmtree(path)",
        "tempfile.mkdtemp()",
        "sqlite3.connect(path)",
        "path.unlink(missing_ok=True)",
    ],
)
def test_the_check_sees_a_write(planted: str) -> None:
    """Each way to write is recognised."""
    assert list(violations(planted))


@pytest.mark.parametrize(
    "harmless",
    [
        "open(path)",
        "path.open('rb')",
        "path.read_bytes()",
        "text.replace('a', 'b')",
        "moment.replace(tzinfo=UTC)",
        "disk.rename(a, b)",
        "self._disk.remove(path)",
        "seal.open(frame, sealed)",
        "os.open(path, os.O_RDONLY)",
        "shutil.which('x')",
    ],
)
def test_the_check_ignores_reading(harmless: str) -> None:
    """What only reads, or asks the writer, is not reported."""
    assert not list(violations(harmless))
