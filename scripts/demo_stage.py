"""What the demo plays on: a disposable directory, the `modelota` command, and processes that end with the demo."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MARKER = ".modelota-demo"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 600.0
_PR_SET_PDEATHSIG = 1


class StageError(Exception):
    """A step did not do what the story says; the text says which, what was expected, and what was found."""


def modelota_command() -> list[str]:
    """The `modelota` of the interpreter that runs this."""
    installed = Path(sys.executable).parent / "modelota"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "modelota.cli.main"]


def free_port() -> int:
    """A TCP port of this machine that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stage:
    """The directory and the processes of one telling; a context manager.

    Args:
        directory: emptied on entering, if an earlier demo made it; kept on leaving, so that one can look around.
        language: that the commands speak.

    Raises:
        StageError: on entering: the directory is not empty and not a demo's.
    """

    def __init__(self, directory: Path, language: str) -> None:
        self.directory = directory
        self.variables = {"MODELOTA_ROOT": str(directory / "device"), "MODELOTA_LANG": language}
        self._background: dict[str, subprocess.Popen[bytes]] = {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELOTA_")}
        self._environment = {**kept, **self.variables}

    def __enter__(self) -> Self:
        if self.directory.exists() and any(self.directory.iterdir()):
            if not (self.directory / MARKER).exists():
                raise StageError(f"{self.directory} is not empty and no earlier demo made it")
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / MARKER).touch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background.values():
            process.terminate()
        for process in self._background.values():
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def show(self, line: str) -> None:
        """Print a command line as one would type it."""
        print(f"\n$ {line}", flush=True)

    def relative(self, path: Path) -> str:
        """`path` as one would type it in the stage's directory."""
        return os.path.relpath(path, self.directory)

    def run(self, *words: str, expect: int = 0) -> float:
        """Show and run `modelota` with `words`, its output going where ours goes; returns its seconds.

        Raises:
            StageError: another exit status than `expect`.
        """
        self.show(f"modelota {shlex.join(words)}")
        started = time.monotonic()
        status = self._call(words, stdout=None).returncode
        elapsed_s = time.monotonic() - started
        if status != expect:
            raise StageError(f"modelota {shlex.join(words)}: exit status {status}, expected {expect}")
        return elapsed_s

    def attempt(self, *words: str) -> int:
        """Show and run `modelota` with `words`; returns its exit status."""
        self.show(f"modelota {shlex.join(words)}")
        return self._call(words, stdout=None).returncode

    def answer(self, *words: str) -> str:
        """Show and run `modelota` with `words`, print and return what it prints.

        Raises:
            StageError: an exit status other than 0.
        """
        self.show(f"modelota {shlex.join(words)}")
        result = self._call(words, stdout=subprocess.PIPE)
        text = result.stdout.decode()
        print(text, end="", flush=True)
        if result.returncode != 0:
            raise StageError(f"modelota {shlex.join(words)}: exit status {result.returncode}, expected 0")
        return text

    def ask(self, *words: str) -> Any:  # noqa: ANN401  whatever JSON holds
        """Run `modelota … --json` behind the scenes and decode what it prints.

        Raises:
            StageError: an exit status other than 0.
        """
        result = self._call((*words, "--json"), stdout=subprocess.PIPE)
        if result.returncode != 0:
            raise StageError(f"modelota {shlex.join(words)} --json: {result.stdout.decode().strip()}")
        return json.loads(result.stdout)

    def start(self, name: str, *words: str) -> None:
        """Show `modelota` with `words`, start it in the background, and print its first line once it is there.

        Args:
            name: of the process, for `stop`; what it prints goes to `<name>.log`.
            words: after `modelota`.

        Raises:
            StageError: it ended, or said nothing in `START_TIMEOUT_S`.
        """
        self.show(f"modelota {shlex.join(words)} &")
        path = self.directory / f"{name}.log"
        with path.open("wb") as file:
            process = subprocess.Popen(
                [*modelota_command(), *words],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  no other thread runs
            )
        self._background[name] = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"\n" not in path.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"modelota {shlex.join(words)} did not start: {path.read_text(encoding='utf-8')}")
            time.sleep(0.05)
        print(path.read_text(encoding="utf-8").splitlines()[0], flush=True)

    def stop(self, name: str) -> None:
        """Show and stop a process that `start` began.

        Raises:
            StageError: it does not end.
        """
        job = 1 + list(self._background).index(name)
        self.show(f"kill %{job}")
        process = self._background[name]
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise StageError(f"{name} does not end within {STOP_TIMEOUT_S:g} s") from error

    def _call(self, words: tuple[str, ...], *, stdout: int | None) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [*modelota_command(), *words],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StageError(f"modelota {shlex.join(words)} took more than {COMMAND_TIMEOUT_S:g} s") from error


def _end_with_parent() -> None:
    """In the child: be told to stop when the demo is killed, too (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
