"""What the device is, and whether it meets what a release requires (clause 5.2-b).

Read from procfs, sysfs and `/etc/os-release`; a reading that cannot be taken is None, and a requirement on it is then
not met, with `found=None`. Only the standard library and msgspec: the supervisor asks, too.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from modelota.errors import AskPerson
from modelota.spec.manifest import OsRange, Requires
from modelota.storage.durable import free_bytes
from modelota.telemetry import cgroup
from modelota.telemetry.accelerator import accelerators

_ROOT: Final = Path("/")
_KIB: Final = 1024
_ARCHITECTURES: Final = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_FAMILIES: Final = {"win32": "windows", "darwin": "macos", "linux": "linux", "android": "android"}
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)


class DeviceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The device as releases see it. Nothing in it identifies one device.

    Attributes:
        os_family: `linux`, `windows`, `macos` or `android`.
        os_id: the distribution (`debian`), or None.
        os_version: the distribution's version (`12`), or None.
        kernel_version: release of the kernel (`6.1.0-18-amd64`).
        architecture: `x86_64`, `aarch64`, or what the system calls itself.
        cores: processors this process may use: affinity and control-group quota, rounded down, at least 1.
        cpu_features: by their Linux names, or None where they cannot be read.
        memory_bytes: of the device, or of the control group if that is less; None if unknown.
        memory_available_bytes: what can be had without swapping; None if unknown.
        storage_free_bytes: at the device root, for this user; None if unknown.
        accelerator: names of the accelerators that the kernel shows, or None.
        accelerators: their kinds (`nvidia`, `amd`, `intel`, `npu`); None where the kernel shows no devices.
        gops: giga-operations per second of the compute benchmark, or None where it was not run.
        memory_gb_s: gigabytes per second of its memory part, likewise.
        reasons: field name -> why it is None.
    """

    os_family: str
    os_id: str | None
    os_version: str | None
    kernel_version: str
    architecture: str
    cores: int
    cpu_features: tuple[str, ...] | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    storage_free_bytes: int | None
    accelerator: str | None = None
    accelerators: tuple[str, ...] | None = ()
    gops: float | None = None
    memory_gb_s: float | None = None
    reasons: dict[str, str] = {}


def device_profile(root: Path, *, base: Path = _ROOT) -> DeviceProfile:
    """Read the profile.

    Args:
        root: the device root (or a parent of it, before it exists): where free storage is measured.
        base: what procfs, sysfs and etc are below.
    """
    reasons: dict[str, str] = {}
    found = accelerators(base=base)
    release = _os_release(base / "etc/os-release")
    features = _cpu_features(base / "proc/cpuinfo")
    memory = _meminfo(base / "proc/meminfo")
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    limit = cgroup.memory_limit_bytes(base / "proc", base / "sys")
    room = cgroup.memory_room_bytes(base / "proc", base / "sys")
    free = free_bytes(root)
    unknown = {
        "os_version": (release.get("VERSION_ID"), "no VERSION_ID in os-release"),
        "cpu_features": (features, "no flags or Features in cpuinfo"),
        "memory_bytes": (total, "no MemTotal in meminfo"),
        "memory_available_bytes": (available, "no MemAvailable in meminfo"),
        "storage_free_bytes": (free, "the file system does not tell"),
        "accelerator": (found or None, "the kernel shows none" if found is not None else "no device classes in sysfs"),
        "accelerators": (found, "no device classes in sysfs"),
        "gops": (None, "not measured yet"),
        "memory_gb_s": (None, "not measured yet"),
    }
    reasons.update({name: reason for name, (value, reason) in unknown.items() if value is None})
    return DeviceProfile(
        os_family=_FAMILIES.get(sys.platform, sys.platform),
        os_id=release.get("ID"),
        os_version=release.get("VERSION_ID"),
        kernel_version=platform.release(),
        architecture=_ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower()),
        cores=usable_cores(base=base),
        cpu_features=features,
        memory_bytes=total if total is None or limit is None else min(total, limit),
        memory_available_bytes=available if available is None or room is None else min(available, room),
        storage_free_bytes=free,
        accelerator=", ".join(entry.name for entry in found) if found else None,
        accelerators=None if found is None else tuple(sorted({entry.kind for entry in found})),
        reasons=reasons,
    )


def usable_cores(*, base: Path = _ROOT) -> int:
    """Processors this process may keep busy: affinity and control-group quota, rounded down, at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # no affinity on this system
        cores = os.cpu_count() or 1
    quota = cgroup.cpu_quota(base / "proc", base / "sys")
    return max(1, cores if quota is None else min(cores, int(quota)))


def check_requirements(
    requires: Requires,
    profile: DeviceProfile,
    *,
    agent_version: str,
    runtime_versions: Mapping[str, str | None],
    runtime: str,
    peak_space_bytes: int,
    root: Path = Path(),
) -> tuple[AskPerson, ...]:
    """What the device lacks for a release: one error per unmet requirement, none if it can run it. Pure.

    Args:
        requires: of the variant.
        profile: of the device.
        agent_version: this agent's.
        runtime_versions: installed runtimes; None for one that is registered but not installed.
        runtime: the one the variant needs.
        peak_space_bytes: the most additional storage that installing will occupy at any moment.
        root: named in a `no-space` error.

    Returns:
        Errors with code `requirement-not-met` (requirement, need, found), `runtime-missing` (runtime, need) or
        `no-space` (path, need_bytes, free_bytes), not raised: a caller may try the next variant.
    """
    return (
        *_compute(requires, profile),
        *_memory_and_system(requires, profile),
        *_software(requires, agent_version, runtime_versions, runtime),
        *_storage(requires, profile, peak_space_bytes, root),
    )


def _unmet(requirement: str, need: object, found: object) -> AskPerson:
    return AskPerson("requirement-not-met", requirement=requirement, need=need, found=found)


def _compute(requires: Requires, profile: DeviceProfile) -> Iterator[AskPerson]:
    compute = requires.compute
    if profile.cores < compute.cores:
        yield _unmet("cores", compute.cores, profile.cores)
    if compute.architectures and profile.architecture not in compute.architectures:
        yield _unmet("architecture", ", ".join(compute.architectures), profile.architecture)
    if profile.cpu_features is None and compute.features:
        yield _unmet("cpu-features", ", ".join(compute.features), None)
    elif missing := [name for name in compute.features if name not in (profile.cpu_features or ())]:
        yield _unmet("cpu-features", ", ".join(missing), "none of these")
    if compute.min_gops and (profile.gops is None or profile.gops < compute.min_gops):
        yield _unmet("compute-gops", compute.min_gops, profile.gops)
    if compute.min_memory_gb_s and (profile.memory_gb_s is None or profile.memory_gb_s < compute.min_memory_gb_s):
        yield _unmet("compute-memory-gb-s", compute.min_memory_gb_s, profile.memory_gb_s)
    if compute.accelerators and not set(compute.accelerators) & set(profile.accelerators or ()):
        has = None if profile.accelerators is None else ", ".join(profile.accelerators) or "none"
        yield _unmet("accelerator", ", ".join(compute.accelerators), has)


def _memory_and_system(requires: Requires, profile: DeviceProfile) -> Iterator[AskPerson]:
    if requires.memory_bytes and (profile.memory_bytes is None or profile.memory_bytes < requires.memory_bytes):
        yield _unmet("memory", requires.memory_bytes, profile.memory_bytes)
    if requires.os and not any(_os_fits(wanted, profile) for wanted in requires.os):
        need = "; ".join(_os_text(wanted) for wanted in requires.os)
        found = f"{profile.os_family} {profile.kernel_version}, {profile.os_id} {profile.os_version}"
        yield _unmet("os", need, found)


def _software(
    requires: Requires, agent_version: str, runtime_versions: Mapping[str, str | None], runtime: str
) -> Iterator[AskPerson]:
    if not at_least(agent_version, requires.agent_min_version):
        yield _unmet("agent", requires.agent_min_version, agent_version)
    installed = runtime_versions.get(runtime)
    if installed is None:
        yield AskPerson("runtime-missing", runtime=runtime, need=requires.runtime_min_version)
    elif requires.runtime_min_version is not None and not at_least(installed, requires.runtime_min_version):
        yield _unmet("runtime", f"{runtime} {requires.runtime_min_version}", f"{runtime} {installed}")


def _storage(requires: Requires, profile: DeviceProfile, peak_bytes: int, root: Path) -> Iterator[AskPerson]:
    free = profile.storage_free_bytes
    if requires.storage_bytes and (free is None or free < requires.storage_bytes):
        yield _unmet("storage", requires.storage_bytes, free)
    if peak_bytes > 0 and (free is None or free < peak_bytes):
        yield AskPerson("no-space", path=str(root), need_bytes=peak_bytes, free_bytes=free)


def at_least(version: str, minimum: str) -> bool:
    """Whether `version` is `minimum` or later; only the dotted numbers at the start of each count, 2.1 equals 2.1.0."""
    have, need = _numbers(version), _numbers(minimum)
    length = max(len(have), len(need))
    return have + [0] * (length - len(have)) >= need + [0] * (length - len(need))


def _at_most(version: str, maximum: str) -> bool:
    """Whether `version` is in `maximum` or earlier: 6.1.55 is at most 6.1, as people mean it."""
    limit = _numbers(maximum)
    return _numbers(version)[: len(limit)] <= limit


def _numbers(version: str) -> list[int]:
    numbers: list[int] = []
    for part in version.split("."):
        match = _NUMBER.match(part)
        if match is None:
            break
        numbers.append(int(match.group()))
        if match.end() != len(part):
            break
    return numbers


def _os_fits(wanted: OsRange, profile: DeviceProfile) -> bool:
    """A family name is compared with the kernel's version, a distribution's name with the distribution's."""
    if wanted.family == profile.os_family:
        found: str | None = profile.kernel_version
    elif wanted.family == profile.os_id:
        found = profile.os_version
    else:
        return False
    if wanted.min_version is None and wanted.max_version is None:
        return True
    return (
        found is not None
        and (wanted.min_version is None or at_least(found, wanted.min_version))
        and (wanted.max_version is None or _at_most(found, wanted.max_version))
    )


def _os_text(wanted: OsRange) -> str:
    parts = [wanted.family]
    if wanted.min_version is not None:
        parts.append(f">={wanted.min_version}")
    if wanted.max_version is not None:
        parts.append(f"<={wanted.max_version}")
    return " ".join(parts)


def _os_release(path: Path) -> dict[str, str]:
    """Fields of os-release(5); values lose their quotes."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'")[:64] for name, _, value in pairs if value.strip()}


def _cpu_features(path: Path) -> tuple[str, ...] | None:
    """Flags common to all processors: on mixed cores a thread may run on any."""
    common: set[str] | None = None
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            common = set(value.split()) if common is None else common & set(value.split())
    return None if common is None else tuple(sorted(common))


def _meminfo(path: Path) -> dict[str, int]:
    """Fields of meminfo in bytes."""
    found: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[0].isdigit() and words[1] == "kB":
            found[name] = int(words[0]) * _KIB
    return found
