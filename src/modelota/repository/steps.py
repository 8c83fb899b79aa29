"""Which step of the version a change demands (clause 6.1-b): what changed, how far, and in which words to say it.

Major: architecture, or parameters by a large amount. Minor: a module added, removed or improved. Patch: everything
else: corrected weights, texts, small optimisations, further forms (variants) of the same model, what it asks of the
device. What cannot be compared (an opaque file, a predecessor whose manifest says nothing of its structure) demands
nothing by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from modelota.spec.manifest import Interface, Kind, Manifest, RuntimeUse, Variant
from modelota.spec.structure import FileStructure, Scalar, TensorGroup
from modelota.spec.version import Step

LARGE_SHARE: Final = 0.2  # of the parameters: a change beyond this is a large one
STEPS: Final[tuple[Step, ...]] = ("patch", "minor", "major")

_ARCHITECTURE: Final = ("general.architecture", "model_type", "architectures")
# Sizes that make the computation another one, by the last part of their key: of GGUF, and of `config.json`.
_SIZES: Final = frozenset(
    {
        "block_count", "embedding_length", "feed_forward_length", "head_count", "head_count_kv", "key_length",
        "value_length", "expert_count", "expert_used_count", "num_hidden_layers", "hidden_size", "intermediate_size",
        "num_attention_heads", "num_key_value_heads", "head_dim", "num_local_experts", "num_experts_per_tok",
    }
)  # fmt: skip
_CONTEXT: Final = frozenset({"context_length", "max_position_embeddings"})
_VOCABULARY: Final = frozenset({"tokens", "merges", "vocab_size"})
_VOCABULARY_FILES: Final = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"})
_WEIGHTS: Final = frozenset({"gguf", "safetensors"})
_VOCABULARY_TENSORS: Final = ("token_embd", "output.weight", "embed_tokens", "lm_head", "word_embeddings")


class Change(NamedTuple):
    """Something that changed, and the step that it demands.

    Attributes:
        step: at least this one.
        what: a word that names the kind of change; `docs/versions.md` lists them.
        where: the variant, file, key or tensors concerned; an empty text for the whole release.
        before: what was there, or None.
        after: what is there now, or None.
    """

    step: Step
    what: str
    where: str = ""
    before: str | None = None
    after: str | None = None


class Form(NamedTuple):
    """A variant as far as the rules look at it."""

    name: str
    runtime: RuntimeUse
    paths: frozenset[str]
    structure: tuple[FileStructure, ...]


class Release(NamedTuple):
    """A release as far as the rules look at it."""

    kind: Kind
    interfaces: tuple[Interface, ...]
    permissions: tuple[str, ...]
    user_data_schema: int
    variants: tuple[Form, ...]


def release_of(manifest: Manifest) -> Release:
    """A published release."""
    return Release(
        manifest.kind,
        manifest.interfaces,
        manifest.permissions,
        manifest.user_data_schema,
        tuple(_form(variant) for variant in manifest.variants),
    )


def _form(variant: Variant) -> Form:
    return Form(variant.name, variant.runtime, frozenset(file.path for file in variant.files), variant.structure)


def demanded_step(changes: Sequence[Change]) -> Step:
    """The largest step that any of `changes` demands; a patch when there are none."""
    return max((change.step for change in changes), key=STEPS.index, default="patch")


def changes_between(before: Release, after: Release) -> list[Change]:
    """What changed from one release to the next, the weightiest first."""
    found = [*_promises(before, after), *_variants(before, after)]
    return sorted(dict.fromkeys(found), key=lambda change: -STEPS.index(change.step))


def _promises(before: Release, after: Release) -> Iterator[Change]:
    if after.kind == "feature":
        yield Change("minor", "new-features")
    old, new = ({f"{each.name} {each.version}" for each in one.interfaces} for one in (before, after))
    for name in sorted(new - old):
        yield Change("minor", "interface-added", name)
    for name in sorted(old - new):
        yield Change("major", "interface-removed", name)
    for name in sorted(set(after.permissions) - set(before.permissions)):
        yield Change("patch", "permission-added", name)
    if before.user_data_schema != after.user_data_schema:
        schemas = (str(before.user_data_schema), str(after.user_data_schema))
        yield Change("patch", "user-data-changed", "", *schemas)


def _variants(before: Release, after: Release) -> Iterator[Change]:
    old, new = ({form.name: form for form in one.variants} for one in (before, after))
    for name in sorted(new.keys() - old.keys()):
        yield Change("patch", "variant-added", name)
    for name in sorted(old.keys() - new.keys()):
        yield Change("patch", "variant-removed", name)
    for name in sorted(old.keys() & new.keys()):
        yield from _forms(old[name], new[name])


def _forms(old: Form, new: Form) -> Iterator[Change]:
    if old.runtime.name != new.runtime.name:
        yield Change("minor", "runtime-changed", new.name, old.runtime.name, new.runtime.name)
    yield from _modules(old, new)
    before, after = _by_role(old), _by_role(new)
    known = [structure for structure in old.structure if structure.format in _WEIGHTS]
    if not known:
        return  # opaque, or published before manifests said what files are made of
    for role in sorted(before.keys() & after.keys()):
        yield from _files(new.name, before[role], after[role])
    yield from _parameters(old, new)


def _modules(old: Form, new: Form) -> Iterator[Change]:
    """Adapters and further files: a module added or removed. Renamed weights are the same module."""
    for path in sorted(set(new.runtime.adapters) - set(old.runtime.adapters)):
        yield Change("minor", "adapter-added", path)
    for path in sorted(set(old.runtime.adapters) - set(new.runtime.adapters)):
        yield Change("minor", "adapter-removed", path)
    was, now = _further(old), _further(new)
    for path in sorted(now - was):
        yield Change("minor", "file-added", path)
    for path in sorted(was - now):
        yield Change("minor", "file-removed", path)


def _further(form: Form) -> frozenset[str]:
    """Files that are neither weights nor adapters, nor only tell people something."""
    weights = {structure.path for structure in form.structure if structure.format in _WEIGHTS}
    rest = form.paths - weights - {form.runtime.entry, *form.runtime.adapters}
    return frozenset(path for path in rest if not _is_prose(path))


def _is_prose(path: str) -> bool:
    name = path.rpartition("/")[2].casefold()
    return name.startswith(("readme", "licen", "notice", "changelog", ".git")) or name.endswith((".md", ".index.json"))


def _by_role(form: Form) -> dict[str, list[FileStructure]]:
    """Files that follow each other: the weights as one, whatever their shards are called, others by their paths."""
    found: dict[str, list[FileStructure]] = {}
    for structure in form.structure:
        role = structure.path
        if structure.format in _WEIGHTS and structure.path not in form.runtime.adapters:
            role = ""
        found.setdefault(role, []).append(structure)
    return found


def _files(variant: str, old: list[FileStructure], new: list[FileStructure]) -> Iterator[Change]:
    values = ({k: v for each in one for k, v in each.values.items()} for one in (old, new))
    yield from _values(*values)
    tables = ({k: v for each in one for k, v in each.tables.items()} for one in (old, new))
    yield from _tables(old[0].path, *tables)
    groups = ([group for each in one for group in each.tensors] for one in (old, new))
    yield from _tensors(variant, *groups)


def _values(old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> Iterator[Change]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        last = key.rpartition(".")[2]
        told = (key, _said(before), _said(after))
        if key in _ARCHITECTURE:
            yield Change("major", "architecture-changed", *told)
        elif before is None or after is None:
            continue  # a converter that writes more, or less, about the same model
        elif last in _SIZES:
            yield Change("major", "size-changed", *told)
        elif last in _CONTEXT:
            yield Change("minor", "context-changed", *told)
        elif last in _VOCABULARY:
            yield Change("minor", "vocabulary-changed", *told)


def _tables(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for key in sorted(old.keys() & new.keys()):
        if old[key] == new[key]:
            continue
        if key.rpartition(".")[2] in _VOCABULARY or path.rpartition("/")[2] in _VOCABULARY_FILES:
            yield Change("minor", "vocabulary-changed", path if key == "content" else key)


def _tensors(variant: str, old: Sequence[TensorGroup], new: Sequence[TensorGroup]) -> Iterator[Change]:
    before, after = _shapes(old), _shapes(new)
    for name in sorted(after.keys() - before.keys()):
        yield Change("minor", "tensors-added", name, None, _counted(after[name]))
    for name in sorted(before.keys() - after.keys()):
        yield Change("minor", "tensors-removed", name, _counted(before[name]), None)
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        if was.keys() != now.keys():
            step: Step = "minor" if any(word in name for word in _VOCABULARY_TENSORS) else "major"
            yield Change(step, "shape-changed", name, _counted(was), _counted(now))
        elif _total(was) != _total(now):
            yield Change("major", "layers-changed", name, str(_total(was)), str(_total(now)))
    common = before.keys() & after.keys()
    if (types := _types(old, common)) != (types_now := _types(new, common)):
        yield Change("minor", "precision-changed", variant, ", ".join(types), ", ".join(types_now))


Shapes = dict[tuple[int, ...], dict[str, int]]  # how many tensors of each shape, by dtype


def _shapes(groups: Sequence[TensorGroup]) -> dict[str, Shapes]:
    found: dict[str, Shapes] = {}
    for group in groups:
        kinds = found.setdefault(group.name, {}).setdefault(group.shape, {})
        kinds[group.dtype] = kinds.get(group.dtype, 0) + group.count
    return found


def _types(groups: Sequence[TensorGroup], names: Collection[str]) -> list[str]:
    return sorted({group.dtype for group in groups if group.name in names})


def _total(shapes: Shapes) -> int:
    return sum(count for kinds in shapes.values() for count in kinds.values())


def _counted(shapes: Shapes) -> str:
    parts = []
    for shape, kinds in sorted(shapes.items()):
        size = "×".join(map(str, shape)) or "1"
        parts.append(f"{sum(kinds.values())} of {size}")
    return "; ".join(parts)[:200]


def _parameters(old: Form, new: Form) -> Iterator[Change]:
    was, now = (_parameters_of(form) for form in (old, new))
    if was and now and abs(now - was) > LARGE_SHARE * was:
        yield Change("major", "parameters-changed", new.name, str(was), str(now))


def _parameters_of(form: Form) -> int:
    """Values in the model's own tensors; adapters are modules of their own."""
    return sum(each.parameters for each in form.structure if each.path not in form.runtime.adapters)


def _said(value: Scalar | None) -> str | None:
    return None if value is None else str(value)[:200]
