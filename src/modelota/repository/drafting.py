"""Release descriptions that are written for the engineer: a commented draft, and the one of a bare model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modelota.errors import AskPerson
from modelota.repository import toml
from modelota.repository.description import (
    ReleaseDescription,
    SourceFile,
    VariantDescription,
    as_table,
    parse_description,
    regular_files,
)
from modelota.repository.published import load_published
from modelota.repository.rules import core_tests, next_version
from modelota.repository.workspace import Workspace
from modelota.spec.manifest import Interface, Manifest, RuntimeUse
from modelota.spec.selftest import PerformanceTest, SelfTests
from modelota.spec.version import Version

# Generous on purpose: it proves that the engine starts and answers at all, and says nothing about quality.
_TRIAL_TEST = PerformanceTest(prompt="Hello", tokens=8, max_first_token_s=120.0, min_tokens_per_s=0.05)
_HEAD = """\
# Release description of {model} {version}. Fill in what is empty; `modelota repo publish --dry-run` checks all of it.
# Every field is explained in docs/formats/release-description.md. Paths are relative to this file.
"""


class Findings(NamedTuple):
    """What is known about a release before anyone writes its description.

    Attributes:
        lines: about its files, for the reader of the draft.
        provenance: fields of `Provenance` that are known.
        variants: what there is to release; their self-tests are added.
    """

    lines: tuple[str, ...]
    provenance: Mapping[str, str]
    variants: tuple[VariantDescription, ...]


def new_release(
    workspace: Workspace,
    version: str | None,
    *,
    from_version: str | None = None,
    model: str | None = None,
    directory: Path | None = None,
    findings: Findings | None = None,
) -> Path:
    """Write a commented release description for `version` and return its path.

    Args:
        workspace: the publisher's.
        version: of the new release; None is the next patch.
        from_version: take over from this published release; None is the newest, and a bare draft if there is none.
        model: which model; may be left out if the workspace has only one.
        directory: where to create `<version>/release.toml`; None is the current directory.
        findings: about the files of the release, where they are there already.

    Raises:
        AskPerson: `version-invalid`, `argument-invalid`, `version-order` (`from_version` is not admitted, or not
            older), `repository-exists` (the file is already there), `permission-denied`.
        RefuseContent, TryLater: as `load_published`.
    """
    wanted = None if version is None else Version.parse(version)
    model = workspace.require_model(model)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    catalog = published.catalog(model)
    wanted = next_version(catalog) if wanted is None else wanted
    older = [release for release in catalog.releases if Version.parse(release.version) < wanted]
    if from_version is not None:
        older = [release for release in older if release.version == from_version]
        if not older:
            newest = catalog.releases[-1].version if catalog.releases else None
            raise AskPerson("version-order", version=from_version, newest=newest)
    manifest = published.manifest(model, older[-1]) if older else None
    path = (directory or Path.cwd()) / str(wanted) / "release.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(draft_text(model, str(wanted), manifest, findings))
    except FileExistsError as error:
        raise AskPerson("repository-exists", path=str(path)) from error
    except OSError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
    return path


def draft_text(model: str, version: str, predecessor: Manifest | None, findings: Findings | None = None) -> str:
    """The text of a draft; with empty notes, so that it is refused until someone writes them."""
    parts = [_HEAD.format(model=model, version=version)]
    if findings is not None:
        # quoted: a line break in a header would end the comment, and what follows would be read as the description's
        parts.append("# What its files say:\n" + "".join(f"#   {toml.quoted(line)[1:-1]}\n" for line in findings.lines))

    def section(comment: str, table: dict[str, object]) -> None:
        lines = "".join(f"# {line}\n" for line in comment.splitlines())
        parts.append(lines + toml.render(table))

    head: dict[str, object] = {"format": 1, "model": model, "version": version}
    if predecessor is not None:
        head["predecessor"] = predecessor.version
    section("`version` is newer than every published one; when a part increases, lower parts restart at 1.", head)
    section("feature, fix or security.", {"kind": "fix" if predecessor is not None else "feature"})
    section(
        "What the model asks its user for (for example microphone), and the device models it is for; empty: all.",
        {
            "permissions": list(predecessor.permissions) if predecessor is not None else [],
            "device_models": list(predecessor.device_models) if predecessor is not None else [],
        },
    )
    if predecessor is not None and (predecessor.user_data_schema, predecessor.at_rest) != (1, "plain"):
        kept: dict[str, object] = {"user_data_schema": predecessor.user_data_schema, "at_rest": predecessor.at_rest}
        section("Layout of the user's data (raise it when an older version can't read it); how a version lies.", kept)
    interfaces = predecessor.interfaces if predecessor is not None else (Interface(name="chat"),)
    comment = "Core interfaces. None of the predecessor's may be dropped."
    section(comment, {"interfaces": [as_table(interface) for interface in interfaces]})
    section("What the user reads before deciding. Both languages are needed.", {"notes": {"zh-CN": "", "en": ""}})
    parts.append(
        '# For kind = "security" only: why the user should not wait, in both languages.\n'
        '# [urgency.reason]\n# zh-CN = ""\n# en = ""\n'
    )
    provenance = as_table(predecessor.provenance) if predecessor is not None else {}
    empty = dict.fromkeys(("base_model", "licence", "data", "code_revision", "tools", "responsible"), "")
    known = findings.provenance if findings is not None else {}
    section("Where it comes from.", {"provenance": {**empty, **provenance, **known}})
    parts.append(_variants_text(predecessor, findings))
    return "\n".join(parts)


def _variants_text(predecessor: Manifest | None, findings: Findings | None) -> str:
    if findings is not None:
        core = tuple(core_tests(predecessor)) if predecessor is not None else ()
        tests = SelfTests(functional=core, performance=_TRIAL_TEST)
        tables = [{**as_table(variant), "self_tests": as_table(tests)} for variant in findings.variants]
    elif predecessor is None:
        tests = SelfTests(performance=_TRIAL_TEST)
        runtime = RuntimeUse(name="llama.cpp", entry="model.gguf")
        table: dict[str, object] = {"name": "q8", "files": [{"source": "model.gguf"}], "runtime": as_table(runtime)}
        table |= {"requires": {"memory_bytes": 0, "storage_bytes": 0}, "self_tests": as_table(tests)}
        tables = [table]
    else:
        tables = [
            {
                "name": variant.name,
                "files": [{"source": file.path, "path": file.path} for file in variant.files],
                "runtime": as_table(variant.runtime),
                "requires": as_table(variant.requires),
                "self_tests": as_table(variant.self_tests),
            }
            for variant in predecessor.variants
        ]
    comment = (
        "# Variants: `source` on this disk, `path` in the release. A device must meet `requires`; every variant needs\n"
        "# self-tests (functional, perplexity, performance), with which it proves itself before it is used.\n"
        "# Functional tests with core = true are kept by every later release.\n"
    )
    return comment + toml.render({"variants": tables})


def describe_model(
    source: Path, model: str, version: str, predecessor: Manifest | None
) -> tuple[ReleaseDescription, Path]:
    """The description of a bare model file or directory, for trying out; and what its paths are relative to.

    Its only self-test says that the engine starts and answers. Core interfaces and core self-tests are taken over from
    the predecessor, so that the rules of a described release hold for it too.

    Raises:
        AskPerson: `model-empty`, `model-unreadable`, `description-invalid` (several GGUF files: which one runs has to
            be described).
    """
    directory = source if source.is_dir() else source.parent
    files = list(regular_files(source)) if source.is_dir() else [source]
    if not files:
        raise AskPerson("model-empty", path=str(source))
    inside = [file.relative_to(directory).as_posix() for file in files]
    core = tuple(core_tests(predecessor)) if predecessor is not None else ()
    interfaces = predecessor.interfaces if predecessor is not None else (Interface(name="chat"),)
    description = ReleaseDescription(
        format=1,
        model=model,
        version=version,
        predecessor=predecessor.version if predecessor is not None else None,
        kind="feature" if predecessor is None else "fix",
        notes={
            "zh-CN": f"试用版本 {version}，由 {source.name} 直接发布，没有发布说明。",
            "en": f"Version {version} for trying out, published from {source.name} without release notes.",
        },
        interfaces=interfaces,
        variants=(
            VariantDescription(
                name="default",
                files=tuple(SourceFile(source=path, path=path) for path in inside),
                runtime=_runtime_for(inside, source),
                self_tests=SelfTests(functional=core, performance=_TRIAL_TEST),
            ),
        ),
    )
    # through the parser, so that whatever is refused in a written description is refused here
    data = toml.render(as_table(description)).encode()
    return parse_description(data, str(source)), directory


def _runtime_for(files: Sequence[str], source: Path) -> RuntimeUse:
    models = [file for file in files if file.lower().endswith(".gguf")]
    first_parts = [file for file in models if "-00001-of-" in file]
    if len(models) == 1 or len(first_parts) == 1:
        return RuntimeUse(name="llama.cpp", entry=(first_parts or models)[0])
    if models:
        detail = f"{len(models)} GGUF files: write a description that says which one runs"
        raise AskPerson("description-invalid", path=str(source), detail=detail)
    # The device's owner decides what a command does; a repository only names it.
    return RuntimeUse(name="command", entry=files[0], profile="default")
