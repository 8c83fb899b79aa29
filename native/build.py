"""Build the delta codec's kernel for every platform it is shipped for: `python native/build.py` (needs `ziglang`).

The compiler is pinned, so that the same source gives the same bytes on every machine that builds it. The library needs
neither the C library nor anything else at run time.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

COMPILER = ("ziglang", "0.17.1")
TARGETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
HERE = Path(__file__).resolve().parent
SOURCE = HERE / "delta.c"
DESTINATION = HERE.parent / "src" / "modelota" / "content" / "delta" / "native"

# -ffp-contract=off: a fused multiply-add would round once where the format says twice.
# -fno-unroll-loops: what matters is not faster for it, and the library is a third smaller.
FLAGS = [
    "-std=c11",
    "-O2",
    "-fno-unroll-loops",
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-ffreestanding",
    "-fno-builtin",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-fno-stack-protector",
    "-fno-sanitize=all",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,-z,defs",
    "-Wl,--strip-all",
    "-Wl,-z,noexecstack",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,--build-id=none",
]


def build(destination: Path) -> list[Path]:
    """Compile for every target; returns the files written."""
    source_hash = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    for machine, target in TARGETS.items():
        library = destination / f"delta-{machine}.so"
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS]
        command += [f'-DDELTA_SOURCE_HASH="{source_hash}"', "-o", str(library), SOURCE.name]
        subprocess.run(command, check=True, cwd=HERE)
        written.append(library)
    return written


def main() -> None:
    """Build with the pinned compiler, or say that it is another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--destination", type=Path, default=DESTINATION)
    chosen = parser.parse_args()
    name, version = COMPILER
    found = importlib.metadata.version(name)
    if found != version:
        sys.exit(f"{name} {version} is pinned, {found} is installed")
    for library in build(chosen.destination):
        print(f"{library.name}: {library.stat().st_size} bytes")


if __name__ == "__main__":
    main()
