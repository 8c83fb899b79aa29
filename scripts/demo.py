"""The story of `make demo`: a model is published, updated, saved from a bad release, and rolled back, for real.

    python scripts/demo.py [--lang en|zh] [--directory DIR] [--short]

Every command is the installed `modelota`, shown before it runs; what it prints is its own. After each step the story
checks with `--json` that the step did what it says. Exit status: 0 every step did, 1 one did not, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from demo_stage import Stage, StageError
from demo_story import tell
from demo_texts import LANGUAGES, TEXTS

ROOT = Path(__file__).resolve().parent.parent


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Tell the story; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lang", default="en", choices=sorted(LANGUAGES), help="language to tell it in")
    parser.add_argument("--directory", type=Path, default=ROOT / ".demo", help="where it happens; emptied first")
    parser.add_argument("--short", action="store_true", help="leave out the conformance run at the end")
    arguments = parser.parse_args()
    texts = TEXTS[LANGUAGES[arguments.lang]]
    signal.signal(signal.SIGTERM, _stop)
    try:
        with Stage(arguments.directory.absolute(), LANGUAGES[arguments.lang]) as stage:
            tell(stage, texts, ROOT / "examples" / "family", short=arguments.short)
    except StageError as error:
        print(f"\n{texts['stopped']} {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{texts['interrupted']}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
