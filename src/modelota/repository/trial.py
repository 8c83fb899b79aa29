"""Trying a release out before it is published: its own suites, and its predecessors' core tests, in the real engine.

Clauses 6.2-b (the archive holds a test report) and 6.4-a (a higher version keeps the core interfaces of lower ones). A
workspace with real keys publishes nothing without a passing report of this very content.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

import modelota
from modelota.clock import Clock, iso
from modelota.errors import AskPerson, ModelotaError
from modelota.repository.candidate import Candidate, find_candidate
from modelota.repository.description import SourceVariant
from modelota.repository.manifest_cache import DIRECTORY, ManifestCache
from modelota.repository.published import Published, load_published
from modelota.repository.rules import core_tests
from modelota.repository.scan import scan_sources
from modelota.repository.workspace import Workspace
from modelota.runtime.protocol import EngineFile, EngineSpec, runtimes
from modelota.runtime.selftest import SelfTestRecord, run_self_tests
from modelota.spec.document import canonical, read
from modelota.spec.limits import MIB
from modelota.spec.manifest import Manifest
from modelota.spec.selftest import FunctionalTest, SelfTests
from modelota.spec.test_report import Suite, SuiteRecord, TestReport, content_digest, tests_digest
from modelota.spec.version import Version
from modelota.telemetry.profile import device_profile

REPORT_MAX_BYTES: Final = 16 * MIB
DIRECTORY_NAME: Final = "reports"

# Variant, suite, tests done, tests in all.
OnTest = Callable[[str, Suite, int, int], None]


def report_path(workspace: Workspace, model: str, version: str) -> Path:
    """Where the test report of a release lies in the workspace."""
    return workspace.path / DIRECTORY_NAME / model / f"{version}.json"


async def try_release(
    workspace: Workspace,
    source: Path,
    *,
    clock: Clock,
    version: str | None = None,
    model: str | None = None,
    on_test: OnTest = lambda *_: None,
) -> TestReport:
    """Test the release that `source` describes, and keep the report in the workspace.

    A test that fails is in the report and raises nothing: the report is what is asked for.

    Args:
        workspace: the publisher's.
        source: as for `publish`.
        clock: stamps the report.
        version: as for `publish`.
        model: as for `publish`.
        on_test: is told how far it is.

    Raises:
        AskPerson: as `publish` for what is wrong with the description; `runtime-missing`: this machine has no such
            runtime, or `publisher.toml` no such command.
        RefuseContent, TryLater: as `publish`.
    """
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    published.cache = ManifestCache(workspace.path / DIRECTORY)
    candidate = find_candidate(workspace, published, source, version=version, model=model)
    candidate.scanned = scan_sources(candidate.variants, lambda _: None)
    before = predecessors(published, candidate)
    suites: list[SuiteRecord] = []
    with workspace.staging() as place, _socket_directory() as sockets:
        for variant in candidate.variants:
            spec = _engine_spec(workspace, candidate, variant, place, sockets)
            for suite, tests, names in _suites(variant, before):

                def told(done: int, total: int, at: tuple[str, Suite] = (variant.name, suite)) -> None:
                    on_test(*at, done, total)

                contract = suite == "own"
                record = await run_self_tests(tests, spec, None, clock=clock, on_progress=told, contract=contract)
                suites.append(_recorded(variant.name, suite, names, record))
    report = TestReport(
        model=candidate.description.model,
        version=candidate.description.version,
        content=content_of(candidate),
        tests=promises_of(candidate),
        predecessors=tuple(manifest.version for manifest in before),
        suites=tuple(suites),
        machine=_machine(workspace.path),
        made_with=modelota.__version__,
        made_at=iso(clock.now()),
    )
    keep_report(workspace, report)
    return report


def keep_report(workspace: Workspace, report: TestReport) -> Path:
    """Keep a report in the workspace, in place of an older one of the same release."""
    path = report_path(workspace, report.model, report.version)
    for directory in (path.parent.parent.parent, path.parent.parent, path.parent):
        workspace.disk.make_directory(directory)
    workspace.disk.write_file(path, canonical(report))
    return path


def read_report(path: Path) -> TestReport | None:
    """The report that lies at `path`, or None.

    Raises:
        AskPerson: `permission-denied`.
        RefuseContent: `document-invalid`, `document-too-large`, `document-needs-newer`.
    """
    try:
        with path.open("rb") as file:
            return read(file.read(REPORT_MAX_BYTES + 1), TestReport, REPORT_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AskPerson("permission-denied", path=str(path)) from error


def report_problems(
    workspace: Workspace, published: Published, candidate: Candidate, report: TestReport | None
) -> Iterator[ModelotaError]:
    """What of its test report forbids a release; a workspace for trying out may publish without one."""
    version = candidate.description.version
    if report is None:
        if not workspace.config.dev:
            yield AskPerson("test-report-missing", model=candidate.description.model, version=version)
        return
    expected = {
        "version": (report.model, report.version) == (candidate.description.model, version),
        "content": report.content == content_of(candidate),
        "tests": report.tests == promises_of(candidate),
        "predecessors": {m.version for m in predecessors(published, candidate)} <= set(report.predecessors),
    }
    wrong = next((name for name, holds in expected.items() if not holds), None)
    if wrong is not None:
        yield AskPerson("test-report-stale", version=version, detail=wrong)
    elif report.failed is not None:
        failed = report.failed
        yield AskPerson(
            "test-report-failed",
            version=version,
            variant=failed.variant,
            test=_first_failed(failed),
            predecessors=list(failed.predecessors),
            detail=failed.suite,
        )


def predecessors(published: Published, candidate: Candidate) -> tuple[Manifest, ...]:
    """Every admitted older release that was not withdrawn, oldest first."""
    catalog, version = candidate.catalog, Version.parse(candidate.description.version)
    return tuple(
        published.manifest(catalog.model, release)
        for release in catalog.releases
        if Version.parse(release.version) < version and candidate.control.withdrawal(release.version) is None
    )


def content_of(candidate: Candidate) -> str:
    """What identifies the content of a release that was read."""
    return content_digest(
        {
            variant.name: {path: candidate.scanned[place].digest for path, place in variant.files}
            for variant in candidate.variants
        }
    )


def promises_of(candidate: Candidate) -> str:
    """What identifies what a release promises."""
    return tests_digest({variant.name: [variant.runtime, variant.self_tests] for variant in candidate.variants})


def _suites(variant: SourceVariant, before: Sequence[Manifest]) -> Iterator[tuple[Suite, SelfTests, tuple[str, ...]]]:
    """The suites of a variant: its own, and what of its predecessors' core tests is not in it."""
    yield "own", variant.self_tests, ()
    own = set(variant.self_tests.functional)
    further: dict[FunctionalTest, str] = {}
    for manifest in before:
        for test in core_tests(manifest):
            if test not in own:
                further.setdefault(test, manifest.version)
    if further:
        names = tuple(dict.fromkeys(further.values()))
        yield "compatibility", SelfTests(functional=tuple(_apart(further))), names


def _apart(tests: dict[FunctionalTest, str]) -> Iterator[FunctionalTest]:
    """The tests under ids of their own: predecessors may have called different ones the same."""
    seen: set[str] = set()
    for test, version in tests.items():
        name = test.id if test.id not in seen else f"{test.id[:40]}.{version}"
        seen.add(name)
        yield msgspec.structs.replace(test, id=name)


def _recorded(variant: str, suite: Suite, names: tuple[str, ...], record: SelfTestRecord) -> SuiteRecord:
    return SuiteRecord(
        variant=variant,
        suite=suite,
        predecessors=names,
        verdict=record.verdict,
        record=msgspec.to_builtins(record),
    )


def _first_failed(suite: SuiteRecord) -> str | None:
    results = suite.record.get("results") or []
    return next((str(each.get("id")) for each in results if each.get("verdict") != "passed"), None)


def _engine_spec(
    workspace: Workspace, candidate: Candidate, variant: SourceVariant, place: Path, sockets: Path
) -> EngineSpec:
    profile: tuple[str, ...] = ()
    if variant.runtime.profile is not None:
        known = workspace.config.commands.get(variant.runtime.profile)
        if known is None:
            raise AskPerson("runtime-missing", runtime=variant.runtime.name, need=variant.runtime.profile)
        profile = known.argv
    files = place / "trial" / variant.name
    for path, source in variant.files:
        _lay(source, files / path)
    return EngineSpec(
        label=f"{candidate.description.version}+{variant.name}",
        runtime=variant.runtime.name,
        files=tuple(
            EngineFile(
                path=str(files / path),
                size_bytes=candidate.scanned[source].size_bytes,
                digest=candidate.scanned[source].digest,
            )
            for path, source in variant.files
        ),
        entry=str(files / variant.runtime.entry),
        adapters=tuple(str(files / adapter) for adapter in variant.runtime.adapters),
        context_tokens=variant.runtime.context_tokens,
        socket_path=str(sockets / "trial.sock"),
        log_path=str(place / f"{variant.name}.log"),
        work_dir=str(place / f"{variant.name}-work"),
        profile_argv=profile,
        model_alias=candidate.description.model,
    )


def _lay(source: Path, path: Path) -> None:
    """The file where its path in the release says: engines find parts of a model by their names."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), path)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, path)
    except OSError as error:
        raise AskPerson("model-unreadable", path=str(source), detail=error.strerror) from error


@contextmanager
def _socket_directory() -> Iterator[Path]:
    """A private directory with a short path: a socket's address holds about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="modelota-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _machine(path: Path) -> dict[str, Any]:
    profile = device_profile(path)
    told = (
        "os_family",
        "os_id",
        "os_version",
        "kernel_version",
        "architecture",
        "cores",
        "memory_bytes",
        "accelerators",
    )
    versions = {name: runtime.version() for name, runtime in runtimes().items()}
    return {**{name: getattr(profile, name) for name in told}, "runtimes": versions}
