"""Set up `.venv` from the lock files; the second time there is nothing to do.

Needs only a Python of version 3.8 or newer to start with and the standard library. It looks for a Python >= 3.11, says
which system package is missing before it changes anything, creates `.venv`, installs exactly what
`requirements/dev.txt` locks (wheels only, so no compiler is needed, each checked against its recorded hash), and then
the project itself, editable. Where packages come from is pip's own configuration.

Environment: `MODELOTA_PYTHON` names the interpreter to use instead of the first suitable one.
Exit status: 0 set up, 69 (EX_UNAVAILABLE) the system lacks something, 75 (EX_TEMPFAIL) an installation step failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements" / "dev.txt"
STAMP = VENV / "set-up.sha256"
MINIMUM = (3, 11)
GLIBC_MINIMUM = (2, 28)  # what the locked wheels are built for (manylinux_2_28)
# Versions that the locks are verified against come first; a newer one is better than none.
NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python3.14", "python")

# Runs in the interpreter that is looked at; prints one JSON object.
PROBE = """
import importlib, json, platform, sys
missing = []
for name in ("venv", "ensurepip", "ssl", "sqlite3", "ctypes", "zlib"):
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
print(json.dumps({"version": list(sys.version_info[:3]), "missing": missing, "system": platform.system(),
                  "machine": platform.machine(), "libc": list(platform.libc_ver())}))
"""


class Unsuitable(Exception):
    """The system lacks something; the text says what, and how to get it."""


def distribution() -> str:
    """The family of this Linux distribution: `debian`, `fedora`, `arch`, `suse`, `alpine`, or an empty text."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    names = (fields.get("ID", "") + " " + fields.get("ID_LIKE", "")).replace('"', "").split()
    families = {"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora", "centos": "fedora"}
    families.update({"arch": "arch", "suse": "suse", "opensuse": "suse", "alpine": "alpine"})
    return next((families[name] for name in names if name in families), "")


def remedy(family: str, version: list[int] | None) -> str:
    """How to install Python with venv on `family`; `version` is the one present that lacks modules, or None."""
    if family == "debian":
        if version is None:
            return "install it with: apt-get install python3 python3-venv   (or a python3.11+ of your choice)"
        return f"install it with: apt-get install python{version[0]}.{version[1]}-venv"
    if family == "fedora":
        return "install it with: dnf install python3.12"
    if family == "arch":
        return "install it with: pacman -S python"
    if family == "suse":
        return "install it with: zypper install python312"
    return "install a complete Python 3.11 or newer (with venv, ensurepip, ssl and sqlite3)"


def probe(executable: str) -> dict[str, object] | None:
    """What the interpreter at `executable` is, or None when it does not run."""
    try:
        result = subprocess.run(
            [executable, "-I", "-c", PROBE], capture_output=True, text=True, timeout=60, check=True, env=clean_env()
        )
        found = json.loads(result.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found if isinstance(found, dict) else None


def candidates() -> list[str]:
    """Interpreters to look at, most wanted first."""
    named = os.environ.get("MODELOTA_PYTHON")
    if named:
        return [named]
    found = [sys.executable]
    for name in NAMES:
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = shutil.which(name, path=folder) if folder else None
            if path and path not in found:
                found.append(path)
    return found


def judge(facts: dict[str, object], family: str) -> str | None:
    """Why an interpreter can't be used, with the remedy; None when it can.

    Args:
        facts: what `probe` returned.
        family: what `distribution` returned.
    """
    version = list(facts["version"])  # type: ignore[call-overload]  # JSON from our own probe
    missing = list(facts["missing"])  # type: ignore[call-overload]
    shown = ".".join(str(part) for part in version)
    if tuple(version[:2]) < MINIMUM:
        return f"Python {shown} is too old"
    if missing:
        return f"Python {shown} lacks {', '.join(missing)}: {remedy(family, version)}"
    if facts["system"] == "Linux":
        name, number = list(facts["libc"])  # type: ignore[call-overload]
        glibc = tuple(int(part) for part in number.split(".")[:2]) if name == "glibc" else ()
        if glibc < GLIBC_MINIMUM:
            found = f"{name} {number}" if name else "another C library"
            return f"glibc 2.28 or newer is needed (the locked wheels are built for it), found {found}"
    return None


def choose() -> tuple[str, str]:
    """Find an interpreter; returns its path and its version.

    Raises:
        Unsuitable: none will do.
    """
    family = distribution()
    reasons = []
    for executable in candidates():
        facts = probe(executable)
        if facts is None:
            continue
        reason = judge(facts, family)
        if reason is None:
            return executable, ".".join(str(part) for part in list(facts["version"]))  # type: ignore[call-overload]
        reasons.append(f"  {executable}: {reason}")
    text = "modelota needs Python 3.11 or newer with venv, and found none.\n" + "\n".join(reasons)
    if not any("install" in reason or "glibc" in reason for reason in reasons):
        text += "\n  " + remedy(family, None)
    raise Unsuitable(text.replace("\n\n", "\n"))


def clean_env() -> dict[str, str]:
    """The environment without what would send an installation somewhere else."""
    unwanted = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def venv_python() -> Path:
    """Where the interpreter of `.venv` is."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted_stamp() -> str:
    """Digest of everything that the set-up depends on: locks, project file, this script, interpreter, place."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (LOCK, ROOT / "pyproject.toml", Path(__file__).resolve(), VENV / "pyvenv.cfg"):
        digest.update(b"\0" + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def is_set_up() -> bool:
    """Whether `.venv` is what the locks ask for."""
    return STAMP.exists() and venv_python().exists() and STAMP.read_text(encoding="utf-8").strip() == wanted_stamp()


def usable_venv() -> bool:
    """Whether the `.venv` that is there can be installed into."""
    facts = probe(str(venv_python())) if venv_python().exists() else None
    return facts is not None and judge(facts, "") is None and (VENV / "pyvenv.cfg").exists()


def step(command: list[str], what: str) -> None:
    """Run one installation step.

    Raises:
        RuntimeError: it failed; its own output has already been shown.
    """
    if subprocess.run(command, cwd=str(ROOT), env=clean_env(), check=False).returncode != 0:
        raise RuntimeError(what)


def set_up() -> None:
    """Bring `.venv` to what the locks ask for.

    Raises:
        Unsuitable: the system lacks something.
        RuntimeError: a step failed.
    """
    if not usable_venv():
        executable, version = choose()
        print(f"Setting up .venv with Python {version} (once; a minute or two)", flush=True)
        step([executable, "-m", "venv", "--clear", str(VENV)], "creating .venv")
    else:
        print("Bringing .venv up to the lock files", flush=True)
    STAMP.unlink(missing_ok=True)
    python = str(venv_python())
    pip = [python, "-m", "pip", "install", "-qq", "--no-deps"]
    step(
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK.relative_to(ROOT))],
        "installing the locked packages (is the package index of your pip configuration reachable?)",
    )
    step([*pip, "--no-build-isolation", "--no-index", "--editable", "."], "installing modelota itself")
    STAMP.write_text(wanted_stamp() + "\n", encoding="utf-8")


def main() -> int:
    """Set up unless it is done already; returns the exit status."""
    if is_set_up():
        return 0
    try:
        set_up()
    except Unsuitable as error:
        print(error, file=sys.stderr)
        return 69
    except RuntimeError as error:
        print(f"The set-up stopped at: {error}. Nothing is half done: run the same command again.", file=sys.stderr)
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
