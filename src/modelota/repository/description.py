"""The release description: what a release engineer writes, strict TOML (`docs/formats/release-description.md`)."""

from __future__ import annotations

import difflib
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from modelota.errors import AskPerson, ModelotaError
from modelota.spec import names
from modelota.spec.document import known_fields
from modelota.spec.limits import DESCRIPTION_MAX_BYTES, FILES_MAX, SELF_TESTS_MAX, VARIANTS_MAX
from modelota.spec.manifest import (
    AtRest,
    Interface,
    Kind,
    Localised,
    ModelName,
    Name,
    Permission,
    Provenance,
    Requires,
    RuntimeUse,
    Urgency,
)
from modelota.spec.selftest import SelfTests
from modelota.spec.version import Version

LANGUAGES: Final[tuple[Literal["zh-CN", "en"], ...]] = ("zh-CN", "en")


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a directory with all its files, that belongs to a variant.

    Attributes:
        source: where it lies on the publisher's disk, relative to the description.
        path: where it goes in the release; None is the file's own name, or the top for a directory.
    """

    source: Annotated[str, Meta(min_length=1, max_length=4096)]
    path: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


class VariantDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One variant.

    Attributes:
        name: of the variant.
        files: what it is made of.
        runtime: how it is run.
        requires: replaces the description's common `requires` as a whole.
        self_tests: functional tests come on top of the common ones; the other two replace them.
    """

    name: Name
    files: Annotated[tuple[SourceFile, ...], Meta(min_length=1, max_length=FILES_MAX)]
    runtime: RuntimeUse
    requires: Requires | None = None
    self_tests: SelfTests = SelfTests()


class ReleaseDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A whole description; fields not explained here are those of `modelota.spec.manifest.Manifest`.

    Attributes:
        format: 1.
        predecessor: the release it is made from; None is the newest admitted release that is not withdrawn.
        fixes: error codes that the release fixes; they go into the catalog.
    """

    format: Literal[1]
    model: ModelName
    version: str
    predecessor: str | None = None
    kind: Kind
    urgency: Urgency | None = None
    notes: Localised
    permissions: Annotated[tuple[Permission, ...], Meta(max_length=64)] = ()
    device_models: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=4096)] = ()
    interfaces: Annotated[tuple[Interface, ...], Meta(max_length=64)] = ()
    user_data_schema: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    at_rest: AtRest = "plain"
    fixes: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=1024)] = ()
    requires: Requires = Requires()
    self_tests: SelfTests = SelfTests()
    provenance: Provenance = Provenance()
    variants: Annotated[tuple[VariantDescription, ...], Meta(min_length=1, max_length=VARIANTS_MAX)]

    def requires_of(self, variant: VariantDescription) -> Requires:
        """What a device must have for `variant`."""
        return self.requires if variant.requires is None else variant.requires

    def tests_of(self, variant: VariantDescription) -> SelfTests:
        """All self-tests of `variant`: the common ones and its own."""
        own = variant.self_tests
        return SelfTests(
            functional=self.self_tests.functional + own.functional,
            perplexity=own.perplexity or self.self_tests.perplexity,
            performance=own.performance or self.self_tests.performance,
        )


@dataclass(frozen=True)
class SourceVariant:
    """A variant with its files found: path in the release, and path on the publisher's disk, in release-path order."""

    name: str
    runtime: RuntimeUse
    requires: Requires
    self_tests: SelfTests
    files: tuple[tuple[str, Path], ...]


def parse_description(data: bytes, path: str) -> ReleaseDescription:
    """Parse a release description and check what does not need the files.

    Args:
        data: the file's bytes.
        path: its path, for error messages.

    Raises:
        AskPerson: `description-invalid` with what is wrong and where; `version-invalid`; `self-test-missing`.
    """
    if len(data) > DESCRIPTION_MAX_BYTES:
        raise _invalid(path, f"larger than {DESCRIPTION_MAX_BYTES} bytes")
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise _invalid(path, f"not UTF-8 at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:  # ValueError: an integer of too many digits
        raise _invalid(path, str(error)[:300]) from error
    for unknown in _unknown_fields(table, ""):
        raise _invalid(path, unknown)
    try:
        description = msgspec.convert(table, ReleaseDescription)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _invalid(path, str(error)[:300]) from error
    problem = _problem(description)
    if problem is not None:
        raise _invalid(path, problem)
    Version.parse(description.version)
    if description.predecessor is not None:
        Version.parse(description.predecessor)
    for variant in description.variants:
        if description.tests_of(variant) == SelfTests():
            raise AskPerson("self-test-missing", variant=variant.name)
    return description


def read_description(path: Path) -> ReleaseDescription:
    """Read and parse the release description at `path`.

    Raises:
        AskPerson: as `parse_description`; `model-unreadable` when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(DESCRIPTION_MAX_BYTES + 1)
    except OSError as error:
        raise AskPerson("model-unreadable", path=str(path), detail=error.strerror) from error
    return parse_description(data, str(path))


def find_sources(description: ReleaseDescription, directory: Path, path: str) -> tuple[SourceVariant, ...]:
    """Find the files of every variant.

    A directory contributes all regular files below it, links followed, except names that begin with a dot.

    Args:
        description: a parsed description.
        directory: what its paths are relative to.
        path: of the description, for error messages.

    Raises:
        AskPerson: `model-unreadable` (missing, or not a regular file), `model-empty` (a directory without files, or a
            variant without a single byte), `description-invalid` (two files at one path, an unsafe path, a runtime that
            names a file that is not there).
    """
    found = []
    for variant in description.variants:
        files = _find_files(variant, directory, path)
        for needed in (variant.runtime.entry, *variant.runtime.adapters):
            if needed not in files:
                raise _invalid(path, f"variant {variant.name}: runtime names {needed!r}, which is none of its files")
        found.append(
            SourceVariant(
                name=variant.name,
                runtime=variant.runtime,
                requires=description.requires_of(variant),
                self_tests=description.tests_of(variant),
                files=tuple(sorted(files.items())),
            )
        )
    return tuple(found)


def regular_files(directory: Path) -> Iterator[Path]:
    """Regular files below `directory`, links followed, names that begin with a dot left out, in order.

    Raises:
        AskPerson: `model-unreadable`.
    """
    try:
        entries = sorted(directory.iterdir())
        for entry in entries:
            if entry.name.startswith("."):
                continue
            mode = entry.stat().st_mode
            if stat.S_ISDIR(mode):
                if directory.resolve().is_relative_to(entry.resolve()):
                    raise AskPerson("model-unreadable", path=str(entry), detail="a link to its own parent")
                yield from regular_files(entry)
            elif stat.S_ISREG(mode):
                yield entry
            else:
                raise AskPerson("model-unreadable", path=str(entry), detail="not a regular file")
    except OSError as error:
        path = error.filename or str(directory)
        raise AskPerson("model-unreadable", path=str(path), detail=error.strerror) from error


def _find_files(variant: VariantDescription, directory: Path, path: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    folded: set[str] = set()
    size_bytes = 0
    for source in variant.files:
        for inside, file in _expand(source, directory / source.source):
            try:
                names.safe_path(inside)
            except ModelotaError as error:
                raise _invalid(path, f"variant {variant.name}: unsafe path {inside!r}") from error
            if inside.casefold() in folded:
                raise _invalid(path, f"variant {variant.name}: two files at {inside!r}")
            folded.add(inside.casefold())
            files[inside] = file
            size_bytes += file.stat().st_size
            if len(files) > FILES_MAX:
                raise _invalid(path, f"variant {variant.name}: more than {FILES_MAX} files")
    if not size_bytes:
        raise AskPerson("model-empty", path=str(directory / variant.files[0].source))
    return files


def _expand(source: SourceFile, place: Path) -> Iterator[tuple[str, Path]]:
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise AskPerson("model-unreadable", path=str(place), detail=error.strerror) from error
    if stat.S_ISREG(mode):
        yield source.path or place.name, place
        return
    if not stat.S_ISDIR(mode):
        raise AskPerson("model-unreadable", path=str(place), detail="not a regular file")
    prefix = f"{source.path}/" if source.path else ""
    empty = True
    for file in regular_files(place):
        empty = False
        yield prefix + file.relative_to(place).as_posix(), file
    if empty:
        raise AskPerson("model-empty", path=str(place))


def _problem(description: ReleaseDescription) -> str | None:
    if not names.is_model(description.model):
        return f"not a model name: {description.model[:80]!r}"
    if description.urgency is not None and description.kind != "security":
        return "urgency: only a security release may be urgent"
    variants = [variant.name for variant in description.variants]
    if len(set(variants)) != len(variants) or not all(names.is_name(name) for name in variants):
        return "variants: a name is malformed or repeats"
    return _text_problem(description) or _test_problem(description)


def _text_problem(description: ReleaseDescription) -> str | None:
    texts = {"notes": description.notes}
    if description.urgency is not None:
        texts["urgency.reason"] = description.urgency.reason
    for field, localised in texts.items():
        for language in LANGUAGES:
            if not localised.get(language, "").strip():
                return f"{field}: text in {language} is missing"
    return None


def _test_problem(description: ReleaseDescription) -> str | None:
    for variant in description.variants:
        ids = [test.id for test in description.tests_of(variant).functional]
        if len(set(ids)) != len(ids):
            return f"variant {variant.name}: a functional test id repeats"
        if len(ids) > SELF_TESTS_MAX:
            return f"variant {variant.name}: more than {SELF_TESTS_MAX} functional tests"
    return None


def _unknown_fields(value: object, prefix: str) -> Iterator[str]:
    known = known_fields(ReleaseDescription)
    if isinstance(value, list):
        for item in value:
            yield from _unknown_fields(item, prefix)
    elif isinstance(value, dict) and any(name.startswith(prefix) for name in known):
        siblings = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
        for key, inner in value.items():
            if prefix + key not in known:
                near = difflib.get_close_matches(key, [name for name in siblings if "." not in name], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield f"unknown field {(prefix + key)[:100]!r}{hint}"
            yield from _unknown_fields(inner, f"{prefix}{key}.")


def _invalid(path: str, detail: str) -> AskPerson:
    return AskPerson("description-invalid", path=path, detail=detail)


def as_table(value: msgspec.Struct) -> dict[str, Any]:
    """`value` as plain data for TOML, without the fields that have their default."""
    table: dict[str, Any] = {}
    for field in msgspec.structs.fields(value):
        found = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT and found == field.default:
            continue
        table[field.encode_name] = _plain(found)
    return table


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return as_table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
