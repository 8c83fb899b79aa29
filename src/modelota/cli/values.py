"""Values of options and arguments, converted here.

Typer converts through pydantic, whose import takes longer than `modelota device status` altogether needs. The commands
take text, whole numbers, paths, switches and lists of text; those are converted without it, and errors become codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperOption

_CONVERT: Final[Mapping[object, Callable[[str], object]]] = {str: str, Path: Path, int: int}


def convert_plainly(parameter: Any) -> None:  # noqa: ANN401  typer's own types are private
    """Make `parameter`, a typer option or argument, convert its value here."""
    if type(parameter) is TyperOption:
        parameter.__class__ = _Option
    elif type(parameter) is TyperArgument:
        parameter.__class__ = _Argument


def _converted(parameter: Any, ctx: Any, value: Any) -> Any:  # noqa: ANN401  typer's own types are private
    kind = parameter.type_descriptor.annotation
    if isinstance(value, str) and kind in _CONVERT:
        try:
            value = _CONVERT[kind](value)
        except ValueError as error:
            raise typer.BadParameter("not-a-number", ctx=ctx, param=parameter) from error
    if kind is int and value is not None:
        low, high = parameter.min, parameter.max
        if (low is not None and value < low) or (high is not None and value > high):
            raise typer.BadParameter("out-of-range", ctx=ctx, param=parameter)
    if isinstance(value, tuple) and kind == list[str]:
        value = list(value)
    return value


def _is_plain(parameter: Any, value: Any) -> bool:  # noqa: ANN401  typer's own types are private
    kind = parameter.type_descriptor.annotation
    missing = parameter.required and parameter.value_is_missing(value)
    return not missing and (kind in {str, Path, int, bool} or kind == list[str])


class _Option(TyperOption):
    def process_value(self, ctx: Any, value: Any) -> Any:  # noqa: ANN401  typer's own types are private
        if not _is_plain(self, value):
            return super().process_value(ctx, value)
        value = _converted(self, ctx, value)
        return value if self.callback is None else self.callback(ctx, self, value)


class _Argument(TyperArgument):
    def process_value(self, ctx: Any, value: Any) -> Any:  # noqa: ANN401  typer's own types are private
        if not _is_plain(self, value):
            return super().process_value(ctx, value)
        value = _converted(self, ctx, value)
        return value if self.callback is None else self.callback(ctx, self, value)
