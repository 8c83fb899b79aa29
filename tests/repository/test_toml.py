"""Tests of modelota.repository.toml."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.repository import toml

_TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
_SCALARS = st.one_of(
    _TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXT, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(_TEXT, _VALUES, max_size=5))
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    """Any table of plain data survives writing and reading."""
    assert tomllib.loads(toml.render(table)) == table


def test_none_is_left_out_and_other_types_are_refused() -> None:
    """TOML has no null, and no form for arbitrary objects."""
    assert toml.render({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError):
        toml.render({"a": object()})
