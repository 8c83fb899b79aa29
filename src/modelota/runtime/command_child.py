"""Guardian of a command engine: `python -m modelota.runtime.command_child`, specification on standard input.

Stays between the supervisor and the command, because a command may start processes of its own: whatever ends the
supervisor, the guardian ends all of them. Only if the guardian itself is killed with SIGKILL, descendants of the
command (not the command) can be left; processes of other users' making cannot be held without privileges.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelota.runtime import child
from modelota.runtime.command import (
    CONTEXT_VARIABLE,
    FOLDER_VARIABLE,
    MODEL_VARIABLE,
    SOCKET_VARIABLE,
    THREADS_VARIABLE,
    USER_DATA_VARIABLE,
)
from modelota.telemetry.memory import process_tree

_TERM_GRACE_S: Final = 0.5
_KILL_LIMIT_S: Final = 5.0
_POLL_S: Final = 0.01


def main() -> None:
    """Verify, start the command, end with it."""
    os.umask(0o077)
    ending, end = os.pipe()
    started = threading.Event()

    def stop(*_: object) -> None:
        """Wake the main thread.

        Through a pipe, not an event: a signal handler that sets an event its own thread is about to wait for can meet
        that event's lock held by itself, and then nothing would ever end this process.
        """
        os.write(end, b".")

    def parent_ended() -> None:
        if started.is_set():
            stop()
        else:  # still verifying: nothing to tidy up, and a large model would take its time
            os._exit(0)

    # SIGTERM, not SIGKILL, when the supervisor dies: the guardian needs a moment to end the command's descendants.
    opened = child.begin(death_signal=signal.SIGTERM, on_parent_end=parent_ended)
    child.adopt_orphans()
    spec = opened.spec
    Path(spec.socket_path).unlink(missing_ok=True)
    environment = {
        **os.environ,
        SOCKET_VARIABLE: spec.socket_path,
        MODEL_VARIABLE: opened.entry(),
        FOLDER_VARIABLE: str(opened.folder()),
        THREADS_VARIABLE: str(spec.threads),
    }
    if spec.context_tokens is not None:
        environment[CONTEXT_VARIABLE] = str(spec.context_tokens)
    if spec.user_data_dir is not None:
        environment[USER_DATA_VARIABLE] = spec.user_data_dir
    # Until here SIGTERM simply ends this process; from here on there is something to end first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    started.set()
    try:
        command = subprocess.Popen(  # noqa: S603  the device's owner configured it; no shell
            spec.profile_argv,
            stdin=subprocess.DEVNULL,
            cwd=spec.work_dir,
            env=environment,
            preexec_fn=_die_with_guardian,  # noqa: PLW1509  the guardian's other thread only reads a pipe: no lock is held
        )
    except OSError as error:
        child.give_up(child.EXIT_NOT_STARTED, f"{spec.profile_argv[0]}: {error.strerror}")
    statuses: list[int] = []
    collector = threading.Thread(target=_collect, args=(command.pid, statuses, stop), name="collector", daemon=True)
    collector.start()
    os.read(ending, 1)
    ended_by_itself = bool(statuses)
    _end_tree()
    collector.join(_KILL_LIMIT_S)
    # A command that ended by itself passes its status on; a signal as a shell would report it.
    status = statuses[0] if ended_by_itself else 0
    os._exit(status if status >= 0 else 128 - status)


def _die_with_guardian() -> None:
    child.die_with_parent(signal.SIGKILL)


def _collect(command_pid: int, statuses: list[int], stop: Callable[[], None]) -> None:
    """Collect every process that ends, adopted orphans too, until there is none; note the command's status."""
    while True:
        try:
            pid, raw = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        if pid == command_pid:
            statuses.append(os.waitstatus_to_exitcode(raw))
            stop()


def _end_tree() -> None:
    """Ask every descendant to end, then kill what is left; orphans are ours by adoption."""
    started = time.monotonic()
    _signal_descendants(signal.SIGTERM)
    while _descendants():
        waited_s = time.monotonic() - started
        if waited_s > _TERM_GRACE_S:  # again and again: one may have started another meanwhile
            _signal_descendants(signal.SIGKILL)
        if waited_s > _KILL_LIMIT_S:  # stuck in the kernel, or another user's: nothing more can be done from here
            return
        time.sleep(_POLL_S)


def _descendants() -> list[int]:
    return [pid for pid in process_tree(os.getpid())[1:] if not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
        )
    except (OSError, IndexError):
        return True


def _signal_descendants(number: signal.Signals) -> None:
    for pid in _descendants():
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
