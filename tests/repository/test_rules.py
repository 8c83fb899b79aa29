"""Tests of modelota.repository.rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.errors import AskPerson
from modelota.repository.rules import baselines_of, newest_version, next_version, predecessor_of, version_problems
from modelota.spec.catalog import Catalog, CatalogRelease, Control, Withdrawal
from modelota.spec.version import Version

_VERSIONS = st.builds(Version, *[st.integers(1, 4)] * 3)


def _catalog(*versions: str) -> Catalog:
    releases = tuple(
        CatalogRelease(
            version=version,
            manifest_digest="0" * 64,
            manifest_bytes=1,
            released_at="2026-11-24T06:00:00Z",
            kind="fix",
        )
        for version in versions
    )
    return Catalog(model="acme/assistant", releases=releases)


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("1.1.3", None),
        ("1.1.9", None),
        ("1.2.1", None),
        ("2.1.1", None),
        ("1.1.2", "version-exists"),
        ("1.1.1", "version-exists"),
        ("1.2.2", "version-invalid"),
        ("2.1.2", "version-invalid"),
        ("2.2.1", "version-invalid"),
    ],
)
def test_versions_after_1_1_2(version: str, code: str | None) -> None:
    """Newer ones whose lower parts restart are fine; existing ones, and ones that do not restart, are not."""
    assert [problem.code for problem in version_problems(version, _catalog("1.1.1", "1.1.2"))] == (
        [code] if code else []
    )


def test_no_patch_branches() -> None:
    """A patch for an older minor is refused once a newer minor is out."""
    problems = list(version_problems("1.1.2", _catalog("1.1.1", "1.2.1")))
    assert [(problem.code, problem.params["newest"]) for problem in problems] == [("version-order", "1.2.1")]


@given(st.lists(_VERSIONS, max_size=6, unique=True), _VERSIONS)
def test_what_is_allowed_is_newer_than_all(admitted: list[Version], wanted: Version) -> None:
    """No list of releases lets an older or equal version through, and the proposed next one is always allowed."""
    catalog = _catalog(*[str(version) for version in sorted(admitted)])
    if not list(version_problems(str(wanted), catalog)):
        assert all(wanted > version for version in admitted)
    assert not list(version_problems(str(next_version(catalog)), catalog))
    assert newest_version(catalog) == max(admitted, default=None)


def test_the_predecessor() -> None:
    """The newest older release that is not withdrawn, unless one is named, which must be admitted and older."""
    catalog = _catalog("1.1.1", "1.1.2", "1.1.3")
    control = Control(model="acme/assistant", withdrawn=(Withdrawal(version="1.1.3", reason="bad"),))
    assert predecessor_of("1.1.4", None, catalog, control) == "1.1.2"
    assert predecessor_of("1.1.4", "1.1.3", catalog, control) == "1.1.3"
    assert predecessor_of("1.1.1", None, catalog, control) is None
    for named in ("1.1.4", "1.1.5", "1.1.0"):
        with pytest.raises(AskPerson) as caught:
            predecessor_of("1.1.4", named, catalog, control)
        assert caught.value.code == "version-order"


def _control(*withdrawn: str) -> Control:
    return Control(
        model="acme/assistant",
        withdrawn=tuple(Withdrawal(version=version, reason="bad-answers") for version in withdrawn),
    )


@pytest.mark.parametrize(
    ("withdrawn", "expected"),
    [
        ((), ["2.1.2", "2.1.1", "1.2.2", "1.1.1"]),
        (("2.1.1", "1.1.1"), ["2.1.2", "1.2.2", "1.2.1"]),
        (("1.1.1", "1.2.1", "1.2.2", "2.1.1", "2.1.2"), []),
    ],
)
def test_usual_baselines(withdrawn: tuple[str, ...], expected: list[str]) -> None:
    """The newest three, and the first of each major, of those older and not withdrawn; newest first, each once."""
    catalog = _catalog("1.1.1", "1.2.1", "1.2.2", "2.1.1", "2.1.2")
    assert baselines_of("3.1.1", None, catalog, _control(*withdrawn)) == expected


def test_chosen_baselines() -> None:
    """Sorted, each once; too many, unknown, withdrawn and newer ones are refused."""
    catalog, control = _catalog("1.1.1", "1.1.2", "1.1.3"), _control("1.1.2")
    assert baselines_of("1.1.4", ["1.1.1", "1.1.3", "1.1.1"], catalog, control) == ["1.1.3", "1.1.1"]
    assert baselines_of("1.1.4", [], catalog, control) == []
    for chosen, code in (
        (["1.1.2"], "baseline-unusable"),
        (["1.1.4"], "baseline-unusable"),
        (["1.0.1"], "version-invalid"),
        (["1.1.1"] * 63, "argument-invalid"),
    ):
        with pytest.raises(AskPerson) as caught:
            baselines_of("1.1.4", chosen, catalog, control)
        assert caught.value.code == code
