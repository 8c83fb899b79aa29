"""Write docs/openapi.json from the table of routes.

python scripts/openapi_page.py          write the document
python scripts/openapi_page.py --check  exit status 1 if it is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelota.agent.openapi import encoded
from modelota.agent.routes import ROUTES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"


def main() -> int:
    """Write or check the document; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    wanted = encoded(ROUTES)
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_bytes() == wanted
        if not current:
            print(f"{PAGE}: not up to date; run scripts/openapi_page.py", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_bytes(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
