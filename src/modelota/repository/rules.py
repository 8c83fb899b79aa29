"""What a release must not do, decided from data alone: versions, core interfaces, core self-tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from modelota.errors import AskPerson, ModelotaError
from modelota.repository.description import ReleaseDescription, SourceVariant
from modelota.repository.steps import Change, demanded_step
from modelota.spec.catalog import Catalog, Control
from modelota.spec.manifest import Manifest
from modelota.spec.selftest import FunctionalTest
from modelota.spec.version import FIRST, Version

BASELINES: Final = 3  # newest releases that differential packages start from unless others are chosen
ANCHORS_MAX: Final = 32  # and first releases of majors
CHANGES_TOLD: Final = 8  # that a step is refused for
CHOSEN_MAX: Final = 62  # a variant has at most 64 packages


def newest_version(catalog: Catalog) -> Version | None:
    """The newest admitted version, withdrawn ones included."""
    return max((Version.parse(release.version) for release in catalog.releases), default=None)


def next_version(catalog: Catalog) -> Version:
    """The version that a release without one of its own gets: one patch up, or the first."""
    newest = newest_version(catalog)
    return FIRST if newest is None else newest.next("patch")


def predecessor_of(version: str, named: str | None, catalog: Catalog, control: Control) -> str | None:
    """The release that `version` is made from: the one that is named, or the newest older one not withdrawn.

    Raises:
        AskPerson: `version-order`: the named one is not older, or not admitted.
    """
    wanted = Version.parse(version)
    older = [release.version for release in catalog.releases if Version.parse(release.version) < wanted]
    if named is not None:
        if named not in older:
            raise AskPerson("version-order", version=named, newest=older[-1] if older else None)
        return named
    return next((candidate for candidate in reversed(older) if control.withdrawal(candidate) is None), None)


def baselines_of(version: str, chosen: Sequence[str] | None, catalog: Catalog, control: Control) -> list[str]:
    """The releases that differential packages of `version` start from, newest first.

    Args:
        version: of the new release.
        chosen: by a person; None takes the newest `BASELINES` and the first of each major version, of those that are
            older and not withdrawn.
        catalog: of the model.
        control: of the model.

    Raises:
        AskPerson: `baseline-unusable` with `unknown`, `not-older` or `withdrawn`; `version-invalid`;
            `argument-invalid` (too many).
    """
    wanted = Version.parse(version)
    older = [Version.parse(release.version) for release in catalog.releases]
    older = [other for other in older if other < wanted and control.withdrawal(str(other)) is None]
    if chosen is None:
        anchors: dict[int, Version] = {}
        for other in older:
            anchors.setdefault(other.major, other)
        found = {*older[-BASELINES:], *sorted(anchors.values())[-ANCHORS_MAX:]}
        return [str(other) for other in sorted(found, reverse=True)]
    if len(chosen) > CHOSEN_MAX:
        raise AskPerson("argument-invalid", argument="--baseline", detail="out-of-range")
    for text in chosen:
        if Version.parse(text) in older:
            continue
        detail = "unknown"
        if Version.parse(text) >= wanted:
            detail = "not-older"
        elif control.withdrawal(text) is not None:
            detail = "withdrawn"
        raise AskPerson("baseline-unusable", version=text, detail=detail)
    return [str(other) for other in sorted({Version.parse(text) for text in chosen}, reverse=True)]


def version_problems(version: str, catalog: Catalog) -> Iterator[ModelotaError]:
    """What forbids `version`: it exists, it is not newer than every admitted one, or its lower parts did not restart.

    One line of versions, no branches: a patch for an older minor is published as the next version of all. Devices
    compare numbers only, and a lower number that appears later could not be told from a rollback.
    """
    wanted, newest = Version.parse(version), newest_version(catalog)
    if catalog.release(version) is not None:
        yield AskPerson("version-exists", model=catalog.model, version=version)
    elif newest is not None and wanted < newest:
        yield AskPerson("version-order", version=version, newest=str(newest))
    elif newest is not None:
        try:
            wanted.step_from(newest)
        except AskPerson as error:
            yield error


def step_problems(version: str, predecessor: Manifest | None, changes: Sequence[Change]) -> Iterator[ModelotaError]:
    """Whether the step to `version` is smaller than what changed since its predecessor demands (clause 6.1-b)."""
    if predecessor is None:
        return
    wanted, before = Version.parse(version), Version.parse(predecessor.version)
    demanded = demanded_step(changes)
    if wanted < before.next(demanded):
        weighty = [change for change in changes if change.step == demanded]
        yield AskPerson(
            "version-step-too-small",
            version=version,
            predecessor=predecessor.version,
            least=str(before.next(demanded)),
            step=demanded,
            changes=[change._asdict() for change in weighty[:CHANGES_TOLD]],
            more=max(0, len(weighty) - CHANGES_TOLD),
        )


def compatibility_problems(
    description: ReleaseDescription, variants: Sequence[SourceVariant], predecessor: Manifest
) -> Iterator[ModelotaError]:
    """What of its predecessor the release drops: core interfaces, and core self-tests in any variant (clause 6.4-a)."""
    offered = {(interface.name, interface.version) for interface in description.interfaces}
    for interface in predecessor.interfaces:
        if (interface.name, interface.version) not in offered:
            name = f"{interface.name} {interface.version}"
            yield AskPerson("interface-dropped", interface=name, predecessor=predecessor.version)
    for test in core_tests(predecessor):
        if any(test not in variant.self_tests.functional for variant in variants):
            yield AskPerson("core-test-dropped", test=test.id, predecessor=predecessor.version)


def core_tests(manifest: Manifest) -> list[FunctionalTest]:
    """The core self-tests of a release, each once."""
    tests = (test for variant in manifest.variants for test in variant.self_tests.functional if test.core)
    return list(dict.fromkeys(tests))
