"""One method, one pair, measured in processes of their own."""

from __future__ import annotations

import filecmp
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from peers.methods import Method

RUN = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # of this process: when it began
LAUNCH = Path(__file__).with_name("launch.py")


class MethodFailed(Exception):
    """A method's command ended badly; the message is the last of what it said."""


@dataclass(frozen=True)
class Cost:
    """What one command took: seconds of the clock and of processors, and its peak memory."""

    seconds: float
    cpu_s: float
    rss_bytes: int


@dataclass
class Measured:
    """What is known of one method on one pair after some rounds.

    Attributes:
        error: why there are no figures, or "".
        run: in which all rounds were measured; "" when there were several.
    """

    patch_bytes: int = 0
    identical: bool = True
    encoded: list[Cost] = field(default_factory=list)
    applied: list[Cost] = field(default_factory=list)
    error: str = ""
    run: str = ""


def run(command: Sequence[str], folder: Path, *, cores: int, own_report: Path | None) -> Cost:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        folder: for the launcher's report and what the command says.
        cores: how many of the machine's cores it may use.
        own_report: where the command writes JSON with its own `seconds`, `cpu_s` and `rss_bytes`: an interpreter's
            start is no part of the method, and its workers' memory is.

    Raises:
        MethodFailed: it ended with another code than 0.
    """
    report, said = folder / "cost", folder / "said"
    with said.open("wb") as out:
        subprocess.run(
            [sys.executable, "-S", "-E", str(LAUNCH), str(report), str(cores), *command],
            check=True, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    code, wall_s, cpu_s, rss_bytes = report.read_text(encoding="utf-8").split()
    if code != "0":
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise MethodFailed(f"{Path(command[0]).name} ended with {code}: {lines[-1] if lines else 'it said nothing'}")
    if own_report:
        stated = json.loads(own_report.read_text(encoding="utf-8"))
        return Cost(stated["seconds"], stated["cpu_s"], max(stated["rss_bytes"], int(rss_bytes)))
    return Cost(float(wall_s), float(cpu_s), int(rss_bytes))


def round_of(method: Method, base: Path, target: Path, measured: Measured, *, cores: int) -> None:
    """Encode and apply once, compare the result with the target, and add the figures to `measured`."""
    with tempfile.TemporaryDirectory(prefix="modelota-bench-") as place:
        folder = Path(place)
        patch, out, report = folder / "patch", folder / "out", folder / "report"
        own = report if method.reports else None
        try:
            encoded = run(method.encode(base, target, patch, report), folder, cores=cores, own_report=own)
            applied = run(method.apply(base, patch, out, report), folder, cores=cores, own_report=own)
        except MethodFailed as error:
            measured.error = str(error)
            return
        measured.run = RUN if measured.run == RUN or not measured.encoded else ""
        measured.encoded.append(encoded)
        measured.applied.append(applied)
        measured.patch_bytes = patch.stat().st_size
        measured.identical &= filecmp.cmp(out, target, shallow=False)


def row(pair: str, method: Method, target_bytes: int, measured: Measured) -> dict[str, object]:
    """The figures of one method on one pair, medians of the rounds, as the benchmark prints them."""
    named: dict[str, object] = {"pair": pair, "method": method.name}
    figures = ("ratio", "encode_mb_s", "apply_mb_s", "peak_rss_mb", "identical")
    if measured.error:
        return named | dict.fromkeys(figures) | {"error": measured.error}

    def speed(costs: Sequence[Cost], which: str) -> float:
        return target_bytes / 1e6 / statistics.median(getattr(cost, which) for cost in costs)

    return named | {
        "ratio": round(measured.patch_bytes / target_bytes, 5),
        "encode_mb_s": round(speed(measured.encoded, "seconds"), 2),
        "apply_mb_s": round(speed(measured.applied, "seconds"), 1),
        "peak_rss_mb": round(max(cost.rss_bytes for cost in measured.applied) / 1e6, 1),
        "identical": measured.identical,
        "encode_rss_mb": round(max(cost.rss_bytes for cost in measured.encoded) / 1e6, 1),
        "encode_mb_per_cpu_s": round(speed(measured.encoded, "cpu_s"), 2),
        "apply_mb_per_cpu_s": round(speed(measured.applied, "cpu_s"), 1),
        "rounds": len(measured.encoded),
        "run": measured.run,
    }
