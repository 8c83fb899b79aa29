"""The product as its users start it: the `modelota` command in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelota.conformance.row import Unreached

TIMEOUT_S: Final = 240.0
_TERMINAL_BYTES: Final = 1 << 20
_OBSERVED_EVERY_S: Final = 0.02
# What a command may see of this process's environment. MODELOTA_* is left out: the user's own device must not be met.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Done:
    """A command that ended.

    Attributes:
        words: its arguments.
        status: its exit status.
        out: its standard output.
        err: its standard error.
    """

    words: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects it printed, one per line."""
        found = []
        for line in self.out.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The error it told with `--json`, or an empty object."""
        return next((value["error"] for value in self.objects if isinstance(value.get("error"), dict)), {})

    @property
    def code(self) -> str | None:
        """The code of the error it told."""
        code = self.error.get("code")
        return code if isinstance(code, str) else None


class Cli:
    """Runs `modelota` in an environment of its own.

    Args:
        home: home directory of the commands; below the disposable root.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        script = Path(sys.executable).with_name("modelota")
        self.argv: Final = [str(script)] if script.exists() else [sys.executable, "-m", "modelota.cli.main"]
        self.environment: Final = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *words: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        """Run a command to its end; standard input is empty, so nobody can be asked.

        Raises:
            Unreached: it did not end in time.
        """
        try:
            ended = subprocess.run(  # noqa: S603  the product itself, with words of this room
                [*self.argv, *words],
                env={**self.environment, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unreached(f"modelota {' '.join(words)} did not end within {TIMEOUT_S:.0f} s") from error
        text = (ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace"))
        return Done(words, ended.returncode, *text)

    def observed(self, words: Sequence[str], observe: Callable[[int], None]) -> Done:
        """Run a command to its end, and look at its process again and again meanwhile.

        Args:
            words: its arguments.
            observe: called with the process's number.

        Raises:
            Unreached: it did not end in time.
        """
        deadline = time.monotonic() + TIMEOUT_S
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(  # noqa: S603  the product itself, with words of this room
                [*self.argv, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
            while process.poll() is None:
                observe(process.pid)
                if time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    raise Unreached(f"modelota {' '.join(words)} did not end within {TIMEOUT_S:.0f} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_OBSERVED_EVERY_S)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
        return Done(tuple(words), process.returncode, *texts)

    def must(self, *words: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        """Run a command that has to succeed for anything to be measured.

        Raises:
            Unreached: it failed, with what it said.
        """
        done = self.run(*words, environment=environment, cwd=cwd)
        if done.status != 0:
            said = (done.out[-600:] + done.err[-600:]).strip()
            raise Unreached(f"modelota {' '.join(words[:3])} … ended with status {done.status}: {said}")
        return done

    def at_terminal(self, words: Sequence[str], asked: str, typed: str) -> Done:
        """Run a command on a pseudo-terminal, as a person sits there: wait for a question, type one line.

        Args:
            words: its arguments.
            asked: text of the question; nothing is typed before it is shown.
            typed: the line.

        Returns:
            what was shown, as `out`.

        Raises:
            Unreached: it neither asked nor ended in time.
        """
        master, slave = pty.openpty()
        process = subprocess.Popen(  # noqa: S603  the product itself, with words of this room
            [*self.argv, *words],
            env={**self.environment, "TERM": "dumb", "COLUMNS": "200"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        shown, waits, deadline = b"", True, time.monotonic() + TIMEOUT_S
        try:
            while (more := _read_terminal(master, deadline)) and len(shown) < _TERMINAL_BYTES:
                shown += more
                if waits and asked.encode() in shown:
                    waits = False
                    os.write(master, f"{typed}\n".encode())
            status = process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise Unreached(f"modelota {' '.join(words)} did not end within {TIMEOUT_S:.0f} s") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(master)
        return Done(tuple(words), status, shown.decode("utf-8", "replace"), "")


def _read_terminal(master: int, deadline: float) -> bytes:
    """What the other end wrote next; empty once it is closed, or when nothing came in time."""
    ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
    if ready:
        with contextlib.suppress(OSError):  # EIO: the command ended
            return os.read(master, 65_536)
    return b""
