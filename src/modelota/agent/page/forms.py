"""Forms of the page: `application/x-www-form-urlencoded` (WHATWG URL, section 5), small, and with few fields."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from modelota.errors import AskPerson

BODY_MAX_BYTES: Final = 64 * 1024
FIELDS_MAX: Final = 2000
MEDIA_TYPE: Final = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form, in their order."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def last(self) -> dict[str, str]:
        """The last value of each field."""
        return dict(self._fields)

    def all(self, name: str) -> list[str]:
        """All values of the field `name`."""
        return [value for each, value in self._fields if each == name]


def parse_form(content_type: str, body: bytes) -> Form:
    """Read a form.

    Raises:
        AskPerson: `page-request-refused`: it is no such form, is larger than `BODY_MAX_BYTES`, has more than
            `FIELDS_MAX` fields, or is not UTF-8.
    """
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise AskPerson("page-request-refused", detail="not-a-form")
    if len(body) > BODY_MAX_BYTES:
        raise AskPerson("page-request-refused", detail="too-large")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise AskPerson("page-request-refused", detail="not-a-form") from error
    return Form(fields)
