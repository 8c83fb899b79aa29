"""Progress on the way: a moving line on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from modelota.cli.session import Session
from modelota.i18n.flow import progress_line
from modelota.i18n.phases import gate_name, phase_name
from modelota.spec import api

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PERCENT_STEP: Final = 10


class Display(Protocol):
    """Where progress is shown; entered for as long as it is."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def phase(self, phase: str, waits_for: tuple[str, ...]) -> None:
        """A new phase began, or the present one waits."""
        ...

    def progress(self, progress: api.Progress) -> None:
        """The step got further."""
        ...


def display_for(session: Session) -> Display:
    """The display that suits where standard output goes."""
    if session.as_json or not sys.stdout.isatty():
        return LineDisplay(session)
    return TerminalDisplay(session)


class LineDisplay:
    """One line per phase and per ten percent; nothing with `--json`, where the events themselves are printed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def phase(self, phase: str, waits_for: tuple[str, ...]) -> None:
        """Print the phase."""
        self._session.line(phase_line(self._session, phase, waits_for))

    def progress(self, progress: api.Progress) -> None:
        """Print a line for each ten percent."""
        percent = progress.done * 100 // progress.total if progress.total else 0
        mark = (progress.step, percent // _PERCENT_STEP)
        if mark != self._told:
            self._told = mark
            self._session.line(f"  {progress_line(progress, self._session.language)}")


class TerminalDisplay:
    """One moving line per phase."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._step: str | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bars = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=Console(highlight=False),
            refresh_per_second=4,
        )
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            if self._task is not None and error is None:
                self._bars.update(self._task, completed=1, total=1)
            self._bars.stop()

    def phase(self, phase: str, waits_for: tuple[str, ...]) -> None:
        """Finish the line of the phase before and begin one."""
        self._begin(phase, phase_line(self._session, phase, waits_for))

    def progress(self, progress: api.Progress) -> None:
        """Move the line."""
        line = progress_line(progress, self._session.language)
        if progress.step != self._step:
            self._begin(progress.step, line)
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=progress.done, total=progress.total, description=line)

    def _begin(self, step: str, line: str) -> None:
        if self._bars is None:
            return
        if self._task is not None and step == self._step:
            self._bars.update(self._task, description=line)
            return
        if self._task is not None:
            self._bars.update(self._task, completed=1, total=1)
        self._step = step
        self._task = self._bars.add_task(line, total=None)


def phase_line(session: Session, phase: str, waits_for: tuple[str, ...]) -> str:
    """Name a phase, and what it waits for."""
    texts = session.texts
    name = phase_name(phase, session.language)
    if not waits_for:
        return name
    gates = texts.listing([gate_name(gate, session.language) for gate in waits_for])
    return texts.say("{phase} · waits for {gates}", phase=name, gates=gates)
