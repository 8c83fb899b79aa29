"""Reading forms (WHATWG URL, section 5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.agent.page.forms import BODY_MAX_BYTES, FIELDS_MAX, MEDIA_TYPE, parse_form
from modelota.errors import AskPerson


def test_fields_in_their_order() -> None:
    """The last value of a repeated field, or all of them; empty ones are kept."""
    form = parse_form(f"{MEDIA_TYPE}; charset=UTF-8", b"id=2&a=%E5%B0%8F+x&id=1&empty=&id=2")
    assert form.last() == {"id": "2", "a": "小 x", "empty": ""}
    assert form.all("id") == ["2", "1", "2"]
    assert form.all("none") == []


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("application/json", b"{}", "not-a-form"),
        ("", b"a=1", "not-a-form"),
        ("multipart/form-data; boundary=x", b"", "not-a-form"),
        (MEDIA_TYPE, b"a=\xff", "not-a-form"),
        (MEDIA_TYPE, b"a=%ff", "not-a-form"),
        (MEDIA_TYPE, b"&a" * (FIELDS_MAX + 1), "not-a-form"),
        (MEDIA_TYPE, b"a" * (BODY_MAX_BYTES + 1), "too-large"),
    ],
)
def test_what_is_refused(kind: str, body: bytes, detail: str) -> None:
    """With one code, and why."""
    with pytest.raises(AskPerson) as caught:
        parse_form(kind, body)
    assert (caught.value.code, caught.value.params["detail"]) == ("page-request-refused", detail)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(body: bytes) -> None:
    """Any bytes are a form or are refused."""
    try:
        form = parse_form(MEDIA_TYPE, body)
    except AskPerson as error:
        assert error.code == "page-request-refused"
    else:
        assert all(isinstance(value, str) for value in form.last().values())
