"""A release is tested before it is published: its own tests, and what its predecessors promised (clause 6.4-a)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.clock import SystemClock
from modelota.errors import AskPerson, RefuseContent
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.published import load_published
from modelota.repository.report import PublishReport
from modelota.repository.trial import report_path, try_release
from modelota.repository.workspace import Command, Workspace
from modelota.spec.document import canonical
from modelota.spec.test_report import TestReport
from modelota.testing.engine import fake_argv, fake_model

CORE = {
    "id": "name", "prompt": "Who are you?", "check": {"kind": "contains", "values": ["Assistant"]}, "core": True,
}  # fmt: skip
ANSWERS = {"Who are you?": "I am Assistant", "2+2?": "4"}


@pytest.fixture
def reference(shop: Workspace) -> Workspace:
    """The workspace on a machine that has the stand-in engine under the profile `default`."""
    config = msgspec.structs.replace(shop.config, commands={"default": Command(argv=tuple(fake_argv()))})
    return shop.save(config)


class Line:
    """Releases of the stand-in engine, each answering what it is told to."""

    def __init__(self, press: Any, workspace: Workspace) -> None:
        self.press, self.workspace = press, workspace

    def describe(self, version: str, *tests: dict[str, Any], **answers: str) -> Path:
        said = {**ANSWERS, "Who are you?": answers["who"]} if answers else ANSWERS
        (self.press.directory / f"{version}.bin").write_bytes(fake_model(answers={**said, "version": version}))
        path: Path = self.press.describe(version, self_tests={"functional": list(tests or (CORE,))})
        return path

    async def test(self, source: Path) -> TestReport:
        return await try_release(self.workspace, source, clock=SystemClock())

    def publish(self, source: Path, **options: Any) -> PublishReport:
        press = self.press
        return publish(self.workspace, source, clock=press.clock, passphrases=press.passphrases, **options)

    def refused(self, source: Path) -> tuple[str, Any]:
        with pytest.raises(AskPerson) as caught:
            self.publish(source)
        return caught.value.code, caught.value.params.get("detail")


@pytest.fixture
def line(press: Any, reference: Workspace) -> Line:
    return Line(press, reference)


async def test_tested_then_published(line: Line) -> None:
    """Without a report nothing is published; with one that passed it is, and the manifest names it."""
    source = line.describe("1.1.1")
    assert line.refused(source) == ("test-report-missing", None)
    report = await line.test(source)
    assert report.failed is None
    results = {each["id"]: each["verdict"] for each in report.suites[0].record["results"]}
    assert results["name"] == results["contract"] == "passed"
    assert report.machine["architecture"]
    assert line.publish(source).version == "1.1.1"
    published = load_published(line.workspace.store(), line.workspace.trusted_root())
    manifest = published.manifest("acme/assistant", published.catalog("acme/assistant").releases[0])
    assert manifest.test_report == report.digest


async def test_a_failed_test_refuses(line: Line) -> None:
    """What does not answer as it promised is not published."""
    source = line.describe("1.1.1", who="I am somebody else")
    report = await line.test(source)
    assert report.failed is not None
    assert line.refused(source) == ("test-report-failed", "own")


async def test_a_predecessors_core_test_is_run_and_refuses(line: Line) -> None:
    """The core tests of all admitted predecessors are run, whatever the release's own say (clause 6.4-a)."""
    first = line.describe("1.1.1")
    await line.test(first)
    line.publish(first)
    sums = {"id": "sum", "prompt": "2+2?", "check": {"kind": "contains", "values": ["4"]}}
    second = line.describe("1.1.2", sums, who="I am somebody else")
    report = await line.test(second)
    assert [(suite.suite, suite.verdict) for suite in report.suites] == [("own", "passed"), ("compatibility", "failed")]
    assert report.suites[1].predecessors == ("1.1.1",)
    report = line.publish(second, dry_run=True)
    assert {problem.code for problem in report.refusals} >= {"core-test-dropped", "test-report-failed"}
    kept = line.describe("1.1.2", CORE, sums)
    report = await line.test(kept)
    assert [suite.suite for suite in report.suites] == ["own"]
    assert line.publish(kept).predecessor == "1.1.1"


async def test_a_report_speaks_for_one_release(line: Line, press: Any) -> None:
    """Other content, other tests, a further predecessor: the report is out of date."""
    source = line.describe("1.1.1")
    report = await line.test(source)
    (press.directory / "1.1.1.bin").write_bytes(fake_model(answers={**ANSWERS, "another": "answer"}))
    assert line.refused(source) == ("test-report-stale", "content")
    source = line.describe("1.1.1", {**CORE, "max_tokens": 65})
    assert line.refused(source) == ("test-report-stale", "tests")
    source = line.describe("1.1.1")
    line.publish(source)
    second = line.describe("1.1.2")
    await line.test(second)
    path = report_path(line.workspace, "acme/assistant", "1.1.2")
    other = msgspec.structs.replace(msgspec.json.decode(path.read_bytes(), type=TestReport), predecessors=())
    path.write_bytes(canonical(other))
    assert line.refused(second) == ("test-report-stale", "predecessors")
    path.write_bytes(canonical(report))
    assert line.refused(second) == ("test-report-stale", "version")
    path.write_bytes(b"{")
    with pytest.raises(RefuseContent) as caught:
        line.publish(second)
    assert caught.value.code == "document-invalid"


async def test_a_report_from_elsewhere(line: Line, press: Any) -> None:
    """The reference machine may be another one: its report comes as a file."""
    source = line.describe("1.1.1")
    await line.test(source)
    path = report_path(line.workspace, "acme/assistant", "1.1.1")
    moved = press.directory / "from-the-lab.json"
    path.rename(moved)
    assert line.refused(source) == ("test-report-missing", None)
    assert line.publish(source, test_report=moved).version == "1.1.1"


async def test_a_machine_that_cannot(line: Line, press: Any, shop: Workspace) -> None:
    """Without the command that the description names nothing can be told, and no report is written."""
    source = line.describe("1.1.1")
    bare = shop.save(msgspec.structs.replace(shop.config, commands={}))
    with pytest.raises(AskPerson) as caught:
        await try_release(bare, source, clock=SystemClock())
    assert caught.value.code == "runtime-missing"
    assert not report_path(bare, "acme/assistant", "1.1.1").exists()


async def test_for_trying_out_no_report_is_needed(tmp_path: Path) -> None:
    """A workspace without real keys publishes without one, but not against one."""
    workspace = init(
        tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), models=["my/model"], dev=True
    ).workspace
    model = tmp_path / "model.bin"
    model.write_bytes(fake_model(answers=ANSWERS))
    report = publish(workspace, model, clock=SystemClock(), passphrases=Passphrases())
    assert report.version == "1.1.1"
    published = load_published(workspace.store(), workspace.trusted_root())
    assert published.manifest("my/model", published.catalog("my/model").releases[0]).test_report is None


@pytest.mark.engine
async def test_in_the_real_engine(tmp_path: Path, repository_root: Path) -> None:
    """The example family's releases pass; the bad one fails its predecessor's core tests in llama.cpp."""
    workspace = init(
        tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), models=["acme/assistant"], dev=True
    ).workspace
    releases = repository_root / "examples" / "family" / "releases"
    first = releases / "1.1.1" / "release.toml"
    report = await try_release(workspace, first, clock=SystemClock())
    assert report.failed is None
    assert {suite.variant for suite in report.suites} == {"q8", "q4"}
    assert report.machine["runtimes"]["llama.cpp"]
    publish(workspace, first, clock=SystemClock(), passphrases=Passphrases())
    bad = await try_release(workspace, releases / "1.1.3" / "release.toml", clock=SystemClock())
    assert bad.failed is not None
    with pytest.raises(AskPerson) as caught:
        publish(workspace, releases / "1.1.3" / "release.toml", clock=SystemClock(), passphrases=Passphrases())
    assert caught.value.code in {"test-report-failed", "version-order"}
