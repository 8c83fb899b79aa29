"""What a release must not do, decided from data alone: versions, core interfaces, core self-tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelota.errors import AskPerson, ModelotaError
from modelota.repository.description import ReleaseDescription, SourceVariant
from modelota.spec.catalog import Catalog, Control
from modelota.spec.manifest import Manifest
from modelota.spec.selftest import FunctionalTest
from modelota.spec.version import FIRST, Version


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
