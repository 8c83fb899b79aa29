"""The test report of a release: what its suites showed in the real engine on a reference machine.

Clauses 6.2-b and 6.4-a. It is bound to the very content and the very tests by digests, so that it speaks for one
release and no other. Nothing in it identifies the machine.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from modelota.spec import limits
from modelota.spec.document import Document, digest_of
from modelota.spec.manifest import DigestText, ModelName, Name, Time

Suite = Literal["own", "compatibility"]
Verdict = Literal["passed", "failed", "not-run", "inconclusive"]


class SuiteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One suite of one variant.

    Attributes:
        variant: that was tested.
        suite: `own`: the release's functional and performance tests and the contract of its endpoint; `compatibility`:
            core tests of predecessors that are not among its own.
        predecessors: whose core tests the compatibility suite ran.
        verdict: `passed` only if every test is.
        record: everything that was measured, as the runtime's self-test record tells it.
    """

    variant: Name
    suite: Suite
    predecessors: Annotated[tuple[str, ...], Meta(max_length=limits.RELEASES_MAX)] = ()
    verdict: Verdict
    record: dict[str, Any]


class TestReport(Document, kw_only=True, frozen=True):
    """Everything that `repo test` showed about one release.

    Attributes:
        model: name.
        version: number.
        content: digest of what was tested, see `content_digest`.
        tests: digest of all self-tests of all variants, see `tests_digest`.
        predecessors: releases whose core tests the release passed or failed, oldest first.
        suites: one or two per variant.
        machine: the reference machine, as releases see devices: system, processor, memory, runtimes.
        made_with: version of this tool.
        made_at: when.
    """

    __test__ = False  # pytest collects classes by this prefix

    NAME: ClassVar[str] = "test-report"

    model: ModelName
    version: str
    content: DigestText
    tests: DigestText
    predecessors: Annotated[tuple[str, ...], Meta(max_length=limits.RELEASES_MAX)]
    suites: Annotated[tuple[SuiteRecord, ...], Meta(min_length=1, max_length=2 * limits.VARIANTS_MAX)]
    machine: dict[str, Any]
    made_with: str
    made_at: Time

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical report."""
        return digest_of(self)

    @property
    def failed(self) -> SuiteRecord | None:
        """The first suite that did not pass, or None."""
        return next((suite for suite in self.suites if suite.verdict != "passed"), None)


def content_digest(variants: dict[str, dict[str, str]]) -> str:
    """What identifies the content of a release: of each variant, by its name, its files' BLAKE3 by their paths."""
    return digest_of(variants)


def tests_digest(variants: dict[str, Any]) -> str:
    """What identifies the promises of a release: of each variant, by its name, runtime use and self-tests."""
    return digest_of(variants)
