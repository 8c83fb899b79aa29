"""Write the lock files from `pyproject.toml`, and prove that every locked package has a wheel where we promise one.

`requirements/device.txt` is the device core, `requirements/dev.txt` adds the `llama` and `publisher` extras and the
development tools, `requirements/soak.txt` is what `make soak` needs besides those. One file serves every platform
(environment markers); it has hashes, and no index or path in it.
Run by `make lock`; pass `--upgrade` to move to the newest versions that `pyproject.toml` allows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
LOCKS = {
    "device": ("pyproject.toml",),
    "dev": ("pyproject.toml", "--extra", "llama", "--extra", "publisher", "--group", "dev"),
    "soak": ("--group", "soak"),
}
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
PYTHONS = ("3.11", "3.12", "3.13")


def compile_lock(name: str, selection: tuple[str, ...], *, upgrade: bool) -> None:
    """Resolve `selection` of the project into `requirements/<name>.txt`."""
    command = [str(UV), "pip", "compile", *selection, "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--only-binary", ":all:", "--quiet"]
    command += ["--custom-compile-command", "make lock", "--output-file", f"requirements/{name}.txt"]
    subprocess.run([*command, *(["--upgrade"] if upgrade else [])], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def prove_wheels(name: str, platform: str, python: str) -> None:
    """Resolve the lock for a platform without installing; fails when a package has no wheel there."""
    with tempfile.TemporaryDirectory() as target:
        command = [str(UV), "pip", "install", "--dry-run", "--quiet", "--target", target, "--no-deps"]
        command += ["--python-platform", platform, "--python-version", python]
        command += ["--only-binary", ":all:", "--require-hashes", "-r", f"requirements/{name}.txt"]
        subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Lock, then prove; returns the exit status."""
    for name, selection in LOCKS.items():
        compile_lock(name, selection, upgrade="--upgrade" in sys.argv[1:])
    for name in LOCKS:
        for platform in PLATFORMS:
            for python in PYTHONS:
                prove_wheels(name, platform, python)
                print(f"requirements/{name}.txt: wheels for {platform}, Python {python}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
