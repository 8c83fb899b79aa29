"""The static checks, one after the other, all of them even when one fails: lint, format, types, import contract."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "lint": ["ruff", "check", "--output-format", "concise", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "import contract": ["lint-imports"],
}


def main() -> int:
    """Run every check; returns 1 when any failed."""
    failed = []
    for name, (tool, *arguments) in CHECKS.items():
        started = time.monotonic()
        result = subprocess.run(
            [str(BIN / tool), *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        good = result.returncode == 0
        print(f"{'ok    ' if good else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
        if not good:
            failed.append(name)
            print(result.stdout, flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
