"""What the files of a model say about it: architecture, quantisation, parameters, licence, context length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from types import MappingProxyType
from typing import Final

import msgspec

from modelota.repository.model_card import plain
from modelota.spec.structure import FileStructure

# `general.file_type`, as llama.cpp numbers it (`llama_ftype` in llama.h).
FILE_TYPES: Final = MappingProxyType(
    {
        0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k_s",
        12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs",
        20: "iq2_xs", 21: "q2_k_s", 22: "iq3_xs", 23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m",
        28: "iq2_s", 29: "iq2_m", 30: "iq4_xs", 31: "iq1_m", 32: "bf16", 36: "tq1_0", 37: "tq2_0", 38: "mxfp4",
    }
)  # fmt: skip
_TEMPLATES: Final = frozenset({"tokenizer.chat_template", "chat_template"})
_CONTEXTS: Final = ("max_position_embeddings", "n_positions", "max_sequence_length")
_LICENCES: Final = ("general.license", "general.license.name", "license")
_CONTEXT_MAX_TOKENS: Final = 1 << 30


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known; None, 0 or an empty text: the files do not say. Texts are one line of at most 200 characters.

    Attributes:
        architecture: `llama`, `Qwen2ForCausalLM`.
        quantisation: as llama.cpp calls the mixture (`q4_k_m`), else the type that most values have (`bf16`).
        parameters: values in all tensors.
        context_tokens: the longest context it was made for.
        chat_template: whether one comes with it.
    """

    architecture: str = ""
    quantisation: str = ""
    parameters: int = 0
    licence: str = ""
    context_tokens: int | None = None
    chat_template: bool = False
    base_model: str = ""


def facts_of(files: Sequence[FileStructure]) -> ModelFacts:
    """Gather the facts of one variant from all its files; the first file that says something decides."""
    values = {key: value for file in reversed(files) for key, value in file.values.items()}
    names = {*values, *(key for file in files for key in file.tables), *(file.path for file in files)}

    def text(*keys: str) -> str:
        return plain(next((value for key in keys if isinstance(value := values.get(key), str)), ""))

    architecture = text("general.architecture")
    context = next(
        (
            value
            for key in (f"{architecture}.context_length", *_CONTEXTS, *(f"text_config.{key}" for key in _CONTEXTS))
            if isinstance(value := values.get(key), int) and 1 <= value <= _CONTEXT_MAX_TOKENS
        ),
        None,
    )
    return ModelFacts(
        architecture=architecture or text("architectures", "model_type"),
        quantisation=_quantisation(files, values.get("general.file_type")),
        parameters=sum(file.parameters for file in files),
        licence=text(*_LICENCES),
        context_tokens=context,
        chat_template=bool(_TEMPLATES & names) or any(name.endswith("chat_template.jinja") for name in names),
        base_model=text("general.base_model.0.repo_url", "general.base_model.0.name", "base_model_name_or_path"),
    )


def _quantisation(files: Sequence[FileStructure], file_type: object) -> str:
    if isinstance(file_type, int) and file_type in FILE_TYPES:
        return FILE_TYPES[file_type]
    kinds: Counter[str] = Counter()
    for file in files:
        for group in file.tensors:
            kinds[group.dtype] += prod(group.shape) * group.count
    return kinds.most_common(1)[0][0] if kinds else ""
