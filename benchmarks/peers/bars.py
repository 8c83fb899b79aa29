"""The bars, and whether the figures of a run pass them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peers.methods import EMULATION, OURS

Row = Mapping[str, Any]

TIMED_FROM_BYTES = 4_000_000  # a smaller pair is over before a clock says anything
# group: at most this many times the smallest peer, and what to aim for
OF_SMALLEST_PEER = {
    "bf16": (0.85, 0.75),
    "fp16": (0.85, 0.75),
    "fp32": (0.85, 0.75),
    "q8_0": (0.85, 0.75),
    "q4_0": (0.85, 0.70),
    "q4_k_m": (0.75, 0.65),
}
# group: at most this many times a bound of that name
OF_BOUND = {
    "bf16": ("adaptive_code_length", 1.12, 1.03),
    "fp16": ("adaptive_code_length", 1.12, 1.03),
    "q4_0": ("order0_residuals", 1.06, 1.06),
}


@dataclass(frozen=True)
class Verdict:
    """One bar on one pair: the figure found, the bar, and what to aim for; a figure of None was not measured."""

    pair: str
    what: str
    found: float | None
    bar: float
    aim: float
    at_most: bool

    @property
    def word(self) -> str:
        """`pass`, `PASS` (what to aim for is reached as well), `FAIL` or `none`."""
        if self.found is None:
            return "none"
        reached = [self.found <= limit if self.at_most else self.found >= limit for limit in (self.bar, self.aim)]
        return "PASS" if all(reached) else "pass" if reached[0] else "FAIL"


def verdicts(pair: str, group: str, target_bytes: int, rows: Sequence[Row]) -> Iterator[Verdict]:
    """Every bar that applies to a pair.

    Args:
        pair: its name.
        group: of the pair; see `pairs.Pair`.
        target_bytes: size of its target.
        rows: of this pair, one per method.
    """
    by_method = {str(row["method"]): row for row in rows}
    ours = by_method.get(OURS)
    if ours is None or ours.get("ratio") is None:
        return
    peers = [row for row in rows if row is not ours and row.get("ratio") is not None]

    def over(value: Any, other: Any) -> float | None:  # noqa: ANN401 - figures as read from JSON
        return value / other if value is not None and other else None

    def most(what: str, found: float | None, bar: float, aim: float) -> Verdict:
        return Verdict(pair, what, found, bar, aim, at_most=True)

    def least(what: str, found: float | None, bar: float, aim: float) -> Verdict:
        return Verdict(pair, what, found, bar, aim, at_most=False)

    ratio = ours["ratio"]
    if group in OF_SMALLEST_PEER:
        smallest = min((row["ratio"] for row in peers), default=None)
        yield most("size / smallest peer", over(ratio, smallest), *OF_SMALLEST_PEER[group])
    if group in OF_BOUND:
        name, bar, aim = OF_BOUND[group]
        yield most(f"size / {name}", over(ratio, ours.get(name)), bar, aim)
    yield most("size / full package", over(ratio, ours.get("full_ratio")), 1.0, 1.0)
    yield most("size / raw", ratio, 1.001, 1.001)
    yield least("identical", float(all((ours["identical"], ours.get("numpy_identical", True)))), 1, 1)
    if target_bytes < TIMED_FROM_BYTES:
        return
    slow, planes = by_method.get("bsdiff4", {}), by_method.get(EMULATION, {})

    def faster(step: str, peer: Row) -> float | None:
        """How many times as fast; None for figures of different runs, between which the machine may have changed."""
        same_run = bool(ours.get("run")) and ours["run"] == peer.get("run")
        return over(ours[step], peer.get(step)) if same_run else None

    yield least("encode / bsdiff4", faster("encode_mb_s", slow), 50, 50)
    yield least("encode / XOR + planes", faster("encode_mb_s", planes), 0.5, 0.5)
    yield least("encode MB/s", ours["encode_mb_s"], 0, 200 * ours.get("cores", 1))
    yield least("apply MB/s, NumPy alone", ours.get("numpy_apply_mb_s"), 200, 1000)
    yield least("apply MB/s", ours["apply_mb_s"], 300, 1000)
    patcher = by_method.get("HDiffPatch", {})
    yield least("apply / hpatchz", faster("apply_mb_s", patcher), 1, 1)


def table(rows: Sequence[Row], found: Sequence[Verdict]) -> str:
    """Rows and verdicts for people to read."""
    head = f"{'pair':26} {'method':42} {'ratio':>8} {'enc MB/s':>9} {'app MB/s':>9} {'peak MB':>8}  same"
    lines = [head, "-" * len(head)]
    for row in rows:
        start = f"{row['pair']:26} {row['method']:42} "
        if row.get("error"):
            lines.append(f"{start}not measured: {row['error']}")
            continue
        figures = f"{row['ratio']:8.5f} {row['encode_mb_s']:9.2f} {row['apply_mb_s']:9.1f} {row['peak_rss_mb']:8.1f}"
        lines.append(f"{start}{figures}  {'yes' if row['identical'] else 'NO'}")
    head = f"{'pair':26} {'bar':42} {'found':>8} {'bar':>9} {'aim':>9}"
    lines += ["", head, "-" * len(head)]
    for one in found:
        sign = "<=" if one.at_most else ">="
        figure = "       –" if one.found is None else f"{one.found:8.3f}"
        lines.append(f"{one.pair:26} {one.what:42} {figure} {sign}{one.bar:7g} {sign}{one.aim:7g}  {one.word}")
    return "\n".join(lines)
