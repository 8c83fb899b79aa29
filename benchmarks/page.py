"""How long the views of the owner's page take in a real browser, and what the page costs in memory.

    python benchmarks/page.py [--rounds 5]

Prints one JSON object; without a Chromium (`scripts/browser.py`), only why there are no figures.

| key | meaning |
|---|---|
| `first_open_ms` | from opening a one-time link, with no page process running, to the loaded page |
| `views` | per view, language, window and theme: medians of the rounds, and the slowest load |
| `first_byte_ms`, `load_ms` | from the start of the navigation, as the browser's navigation timing says |
| `largest_paint_ms` | when the largest thing in sight was painted |
| `transferred_bytes` | of the document and what it brought along, headers included |
| `slowest_ms`, `bar_ms`, `met` | the slowest load of all, and the bar: one second for each view |
| `page_pss_mb`, `supervisor_pss_mb` | memory of the two processes afterwards, 10⁶ bytes |
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from product.memory import children_of, smaps
from product.vendor import Vendor

from modelota.testing.device import DeviceUnderTest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser.visitor import DESK, LANGUAGES, PHONE, VIEWS, Visitor, chromium, provision

BAR_MS = 1000
PAGE = "modelota.agent.page"
TIMING = """async () => {
  const [navigation] = performance.getEntriesByType('navigation');
  while (!navigation.loadEventEnd) await new Promise((resolve) => setTimeout(resolve));
  const all = [navigation, ...performance.getEntriesByType('resource')];
  const largest = await new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries().at(-1).startTime))
      .observe({type: 'largest-contentful-paint', buffered: true});
    setTimeout(resolve, 2000, null);
  });
  return {
    first_byte_ms: navigation.responseStart, load_ms: navigation.loadEventEnd, largest_paint_ms: largest,
    transferred_bytes: all.reduce((sum, entry) => sum + entry.transferSize, 0),
  };
}"""


def prepared(place: Path) -> DeviceUnderTest:
    """A running device with two versions, and a third on offer."""
    vendor = Vendor(place)
    device = vendor.device()
    device.start()
    for version in ("1.1.1", "1.2.1", "1.3.1"):
        (place / f"model-{version}.bin").write_bytes(f"no weights of {version}".encode())
        vendor.publish(version, place / f"model-{version}.bin")
        if version != "1.3.1":
            device.update()
    device.check()
    return device


def measured(visitor: Visitor, path: str, rounds: int) -> dict[str, Any]:
    """Load one view several times, each time as if for the first time in its tab."""
    taken = []
    for _ in range(rounds):
        visitor.go(path)
        taken.append(visitor.page.evaluate(TIMING))
    medians: dict[str, Any] = {}
    for key in taken[0]:
        values = [one[key] for one in taken if one[key] is not None]
        medians[key] = round(statistics.median(values), 1) if values else None
    return {"view": path, **medians, "slowest_ms": round(max(one["load_ms"] for one in taken), 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if provision().find() is None:
        print(json.dumps({"error": provision().REMEDY}, indent=2))
        return
    views: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        device = prepared(Path(place))
        first = Visitor(browser, device)
        started = time.monotonic()
        first.open()
        first_open_ms = round(1000 * (time.monotonic() - started))
        first.close()
        for language in LANGUAGES:
            for size in (PHONE, DESK):
                for dark in (False, True):
                    visitor = Visitor(browser, device, language=language, size=size, dark=dark)
                    visitor.open()
                    setting = {"language": language, "width_px": size[0], "dark": dark}
                    views += [{**setting, **measured(visitor, path, rounds)} for path in VIEWS]
                    visitor.close()
        pages = children_of(device.pid, PAGE)
        page_pss_mb = smaps(pages[0])["Pss"] / 1e6 if pages else None
        supervisor_pss_mb = smaps(device.pid)["Pss"] / 1e6
        device.stop()
    slowest_ms = max(view["slowest_ms"] for view in views)
    figures = {
        "first_open_ms": first_open_ms,
        "slowest_ms": slowest_ms,
        "bar_ms": BAR_MS,
        "met": slowest_ms <= BAR_MS,
        "page_pss_mb": page_pss_mb,
        "supervisor_pss_mb": supervisor_pss_mb,
        "views": views,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
