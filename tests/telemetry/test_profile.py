"""What the device is, and what it lacks for a release."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from modelota.spec.manifest import Compute, OsRange, Requires
from modelota.storage.durable import free_bytes
from modelota.telemetry.profile import (
    DeviceProfile,
    at_least,
    check_requirements,
    device_profile,
    usable_cores,
)

GIB = 1 << 30
DEVICE = DeviceProfile(
    os_family="linux",
    os_id="debian",
    os_version="12",
    kernel_version="6.1.0-18-amd64",
    architecture="x86_64",
    cores=4,
    cpu_features=("avx2", "fma"),
    memory_bytes=8 * GIB,
    memory_available_bytes=6 * GIB,
    storage_free_bytes=20 * GIB,
)


def check(requires: Requires, device: DeviceProfile = DEVICE, **fields: Any) -> list[tuple[str, str | None]]:
    given = {
        "agent_version": "1.2.0",
        "runtime_versions": {"llama.cpp": "2026.10.11549", "command": "1.0", "other": None},
        "runtime": "llama.cpp",
        "peak_space_bytes": GIB,
        **fields,
    }
    errors = check_requirements(requires, device, **given)
    return [(error.code, error.params.get("requirement")) for error in errors]  # type: ignore[misc]


def test_this_device_agrees_with_other_readers(tmp_path: Path) -> None:
    """Cores, memory and storage are what psutil and the kernel say; nothing unknown lacks its reason."""
    profile = device_profile(tmp_path / "not" / "yet" / "there")
    assert profile.os_family == "linux"
    assert profile.architecture == platform.machine()
    assert 1 <= profile.cores <= len(os.sched_getaffinity(0))
    assert profile.memory_bytes is not None
    assert profile.memory_bytes <= psutil.virtual_memory().total
    assert profile.memory_available_bytes is not None
    assert abs(profile.memory_available_bytes - psutil.virtual_memory().available) < GIB or (
        profile.memory_available_bytes < psutil.virtual_memory().available
    )
    assert profile.storage_free_bytes is not None
    assert abs(profile.storage_free_bytes - psutil.disk_usage(str(tmp_path)).free) < GIB
    unknown = {name for name, value in msgspec.structs.asdict(profile).items() if value is None}
    assert unknown - {"os_id"} == set(profile.reasons)


def test_a_device_that_tells_nothing_is_unknown_with_reasons(tmp_path: Path) -> None:
    """No procfs, no sysfs, no os-release: None and why, never 0."""
    profile = device_profile(tmp_path, base=tmp_path)
    assert profile.memory_bytes is profile.memory_available_bytes is profile.cpu_features is profile.os_version is None
    assert set(profile.reasons) == {
        "accelerator",
        "accelerators",
        "cpu_features",
        "gops",
        "memory_available_bytes",
        "memory_bytes",
        "memory_gb_s",
        "os_version",
    }


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, 2, 1000 * 1024),
        (
            {
                "cgroup": "0::/app\n",
                "sys/fs/cgroup/app/cpu.max": "150000 100000",
                "sys/fs/cgroup/app/memory.max": "512000",
            },
            1,
            512_000,
        ),
        (
            {"cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "max 100000", "sys/fs/cgroup/app/memory.max": "max"},
            2,
            1000 * 1024,
        ),
        (
            {
                "cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            },
            1,
            1000 * 1024,
        ),
        ({"cgroup": "0::/hidden/host/path\n", "sys/fs/cgroup/memory.max": "300000"}, 2, 300_000),
        (
            {
                "cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "400000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            },
            1,
            400_000,
        ),
        (
            {"cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"},
            2,
            1000 * 1024,
        ),
        ({"cgroup": "garbage\n::\n1:x\n"}, 2, 1000 * 1024),
    ],
    ids=["none", "v2", "v2 unlimited", "v2 parent", "container", "v1", "v1 unlimited", "garbage"],
)
def test_limits_of_control_groups_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int, memory: int
) -> None:
    """The tightest limit of any enclosing group decides what the device has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for name, text in {"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 900 kB\n", **files}.items():
        path = tmp_path / ("proc/self/cgroup" if name == "cgroup" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_cores(base=tmp_path) == cores
    assert device_profile(tmp_path, base=tmp_path).memory_bytes == memory


def test_room_in_a_control_group_counts_cache_as_free(tmp_path: Path) -> None:
    """Available memory is what the limit leaves, and clean cache can be dropped."""
    files = {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "proc/self/cgroup": "0::/app\n",
        "sys/fs/cgroup/app/memory.max": "1000000",
        "sys/fs/cgroup/app/memory.current": "700000",
        "sys/fs/cgroup/app/memory.stat": "anon 100\ninactive_file 300000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert device_profile(tmp_path, base=tmp_path).memory_available_bytes == 600_000


def test_features_are_those_of_every_processor(tmp_path: Path) -> None:
    """On mixed cores a thread may run on any, so only what all have counts; arm's line counts as well."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags : avx2 fma\nflags : fma sse2\n")
    assert device_profile(tmp_path, base=tmp_path).cpu_features == ("fma",)
    (tmp_path / "proc/cpuinfo").write_text("Features\t: asimd fp\nFeatures\t: asimd sve\n")
    assert device_profile(tmp_path, base=tmp_path).cpu_features == ("asimd",)


def test_a_device_that_has_everything_lacks_nothing() -> None:
    """All requirements met at their very limits: no error."""
    requires = Requires(
        compute=Compute(cores=4, features=("avx2",), architectures=("aarch64", "x86_64")),
        memory_bytes=8 * GIB,
        storage_bytes=20 * GIB,
        os=(OsRange(family="windows"), OsRange(family="linux", min_version="6.1", max_version="6.1")),
        agent_min_version="1.2",
        runtime_min_version="2026.10",
    )
    assert check(requires, peak_space_bytes=20 * GIB) == []


@pytest.mark.parametrize(
    ("requires", "fields", "found"),
    [
        (Requires(compute=Compute(cores=5)), {}, ("requirement-not-met", "cores")),
        (Requires(compute=Compute(architectures=("aarch64",))), {}, ("requirement-not-met", "architecture")),
        (Requires(compute=Compute(features=("avx2", "amx"))), {}, ("requirement-not-met", "cpu-features")),
        (Requires(memory_bytes=8 * GIB + 1), {}, ("requirement-not-met", "memory")),
        (Requires(storage_bytes=21 * GIB), {}, ("requirement-not-met", "storage")),
        (Requires(os=(OsRange(family="macos"),)), {}, ("requirement-not-met", "os")),
        (Requires(os=(OsRange(family="linux", min_version="6.2"),)), {}, ("requirement-not-met", "os")),
        (Requires(os=(OsRange(family="linux", max_version="5.15"),)), {}, ("requirement-not-met", "os")),
        (Requires(os=(OsRange(family="debian", min_version="13"),)), {}, ("requirement-not-met", "os")),
        (Requires(agent_min_version="1.10"), {}, ("requirement-not-met", "agent")),
        (Requires(runtime_min_version="2027.1"), {}, ("requirement-not-met", "runtime")),
        (Requires(), {"runtime": "other"}, ("runtime-missing", None)),
        (Requires(), {"runtime": "never heard of"}, ("runtime-missing", None)),
        (Requires(), {"peak_space_bytes": 21 * GIB}, ("no-space", None)),
    ],
)
def test_each_unmet_requirement_is_one_error(
    requires: Requires, fields: dict[str, Any], found: tuple[str, str | None]
) -> None:
    """Exactly the requirement that is not met is named."""
    assert check(requires, **fields) == [found]


def test_distributions_have_their_own_versions() -> None:
    """`debian` is compared with the distribution's version, `linux` with the kernel's."""
    assert check(Requires(os=(OsRange(family="debian", min_version="12", max_version="12"),))) == []


def test_what_is_unknown_does_not_pass() -> None:
    """A requirement on a reading that could not be taken is not met, with found=None."""
    blind = msgspec.structs.replace(DEVICE, memory_bytes=None, storage_free_bytes=None, cpu_features=None)
    requires = Requires(memory_bytes=1, storage_bytes=1, compute=Compute(features=("avx2",)))
    assert check(requires, blind) == [
        ("requirement-not-met", "cpu-features"),
        ("requirement-not-met", "memory"),
        ("requirement-not-met", "storage"),
        ("no-space", None),
    ]
    assert check(Requires(), blind, peak_space_bytes=0) == []


@pytest.mark.parametrize(
    ("version", "minimum", "met"),
    [
        ("2026.10.11549", "2026.9", True),
        ("1.10", "1.9", True),
        ("1.9", "1.10", False),
        ("1.2", "1.2.0", True),
        ("1.2.0", "1.2.0.1", False),
        ("6.1.0-18-amd64", "6.1", True),
        ("0.1.0.dev3", "0.1.0", True),
        ("garbage", "0.0.1", False),
        ("", "0", True),
    ],
)
def test_versions_compare_by_their_numbers(version: str, minimum: str, met: bool) -> None:
    """Dotted numbers, not text."""
    assert at_least(version, minimum) is met


def test_free_storage_is_what_this_user_may_use(tmp_path: Path) -> None:
    """f_bavail: the superuser's reserve is not promised to anyone."""
    state = os.statvfs(tmp_path)
    free = free_bytes(tmp_path)
    assert free is not None
    assert abs(free - state.f_bavail * state.f_frsize) < GIB
