"""Find the Chromium that the tests of the owner's page drive; on Debian, as root, install it when it is missing.

Run by `make test`. It never downloads a browser from anywhere but the distribution's own archive, and a machine without
one is no error: the browser tests are then skipped, and say what to install.

Environment: `MODELOTA_CHROMIUM` names the executable to use instead of the first one found.
Exit status: 0, whether there is one or not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PACKAGES = ("chromium", "fonts-noto-cjk")  # without a Chinese font, layouts are tested with boxes for characters
TIMEOUT_S = 180  # of each step: a machine without a network must not keep everybody waiting
REMEDY = (
    "there is no Chromium for the tests of the owner's page; install it (Debian: apt-get install "
    + " ".join(PACKAGES)
    + "), or name one in MODELOTA_CHROMIUM"
)


def find() -> Path | None:
    """The browser to drive, or None when there is none."""
    named = os.environ.get("MODELOTA_CHROMIUM")
    candidates = (named,) if named else NAMES
    found = next((path for name in candidates if (path := shutil.which(name))), None)
    return Path(found) if found else None


def may_install() -> bool:
    """Whether this is Debian, which packages Chromium itself, and we may install packages."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    # Ubuntu's package of that name only fetches a snap, which does not work in containers.
    return "ID=debian" in lines and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> bool:
    """Install the distribution's Chromium; returns whether that worked. What apt-get says is shown when it did not."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *PACKAGES]):
        try:
            result = subprocess.run(
                ["apt-get", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"apt-get {words[0]}: {error}", file=sys.stderr)
            return False
        if result.returncode != 0:
            print(f"apt-get {words[0]}:\n{result.stdout[-2000:]}", file=sys.stderr)
            return False
    return True


def main() -> int:
    """Find, or install; say what is missing."""
    if find() is None and not os.environ.get("MODELOTA_CHROMIUM") and may_install():
        print("Installing Chromium for the tests of the owner's page (once)", flush=True)
        install()
    if find() is None:
        print(f"{REMEDY}; its tests are skipped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
