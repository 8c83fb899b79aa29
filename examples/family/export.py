"""Checkpoints to GGUF: `python examples/family/export.py --checkpoints DIRECTORY --out examples/family/models`.

`q8` is Q8_0 throughout. `q4` is mixed as llama.cpp's Q4_K_M is: Q6_K for the embedding and for the values and the
way down of some layers, Q4_K for the other matrices. Norms stay float32. The adapter is one float16 file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from quantise import q4_k, q6_k
from tokenizer import BOS, CHAT_TEMPLATE, END, UNKNOWN, Tokenizer

ARCHITECTURE = "llama"
VARIANTS = {"1.1.1": ("q8", "q4"), "1.1.2": ("q8", "q4"), "1.1.3": ("q8",), "2.1.1": ("q8", "q4")}
ADAPTERS = ("1.2.1",)

Array = npt.NDArray[Any]
Type = gguf.GGMLQuantizationType


def _more_bits(layer: int, layers: int) -> bool:
    """Whether Q4_K_M gives this layer's sensitive matrices Q6_K: the ends, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def kind_of(name: str, variant: str, layers: int) -> Type:
    """The type a tensor has in a variant."""
    if name.endswith("norm.weight"):
        return Type.F32
    if variant == "q8":
        return Type.Q8_0
    if name.startswith("token_embd"):
        return Type.Q6_K
    _, layer, matrix, _ = name.split(".")
    return Type.Q6_K if matrix in {"attn_v", "ffn_down"} and _more_bits(int(layer), layers) else Type.Q4_K


def encode(values: Array, kind: Type) -> Array:
    """`values` in this type: float32 as they are, quantised as bytes per row."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    match kind:
        case Type.F32:
            return values
        case Type.F16:
            return values.astype(np.float16)
        case Type.Q4_K:
            return q4_k(values)
        case Type.Q6_K:
            return q6_k(values)
        case _:
            return gguf.quants.quantize(values, kind)


def _describe(writer: gguf.GGUFWriter, version: str) -> None:
    """Who made this, under which licence, from what."""
    writer.add_name("Assistant 小助手")
    writer.add_organization("acme")
    writer.add_version(version)
    writer.add_description("Example model of modelota, trained on text its repository generates.")
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "zh"])


def write_model(path: Path, version: str, variant: str, tensors: dict[str, Array], shape: dict[str, Any]) -> None:
    """Write one variant of one version; `shape` is `arch.Shape` as a mapping."""
    tokenizer = Tokenizer.load(Path(__file__).with_name("pieces.json"))
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_type("model")
    _describe(writer, version)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if variant == "q8" else gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["hidden"])
    writer.add_feed_forward_length(shape["feed_forward"])
    writer.add_block_count(shape["layers"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_dimension_count(shape["hidden"] // shape["heads"])
    writer.add_rope_freq_base(shape["rope_base"])
    writer.add_layer_norm_rms_eps(shape["norm_epsilon"])
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokenizer.tokens())
    writer.add_token_scores(tokenizer.scores())
    writer.add_token_types(tokenizer.token_types())
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=False)
    writer.add_add_space_prefix(value=False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, values in tensors.items():
        kind = kind_of(name, variant, shape["layers"])
        writer.add_tensor(name, encode(values, kind), raw_dtype=kind)
    _finish(writer)


def write_adapter(path: Path, version: str, tensors: dict[str, Array], alpha: float) -> None:
    """Write a low-rank adapter as llama.cpp loads it."""
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    _describe(writer, version)
    for name, values in tensors.items():
        writer.add_tensor(name, encode(values, Type.F16), raw_dtype=Type.F16)
    _finish(writer)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Export every version whose checkpoint is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("models"))
    options = parser.parse_args()
    # The pieces belong to the sources: a test compares them with llama.cpp's tokens without training anything.
    Path(__file__).with_name("pieces.json").write_bytes((options.checkpoints / "pieces.json").read_bytes())
    for version in (*VARIANTS, *ADAPTERS):
        stored = options.checkpoints / version
        if not (stored / "checkpoint.npz").exists():
            continue
        with np.load(stored / "checkpoint.npz") as archive:
            tensors = {name: archive[name] for name in archive.files}
        settings = json.loads((stored / "recipe.json").read_text(encoding="utf-8"))
        folder = options.out / version
        folder.mkdir(parents=True, exist_ok=True)
        if version in ADAPTERS:
            write_adapter(folder / "adapter.gguf", version, tensors, settings["recipe"]["lora_alpha"])
        for variant in VARIANTS.get(version, ()):
            path = folder / f"assistant-{variant}.gguf"
            write_model(path, version, variant, tensors, settings["shape"])
            print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
