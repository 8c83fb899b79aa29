"""GGUF files of trained weights: which tensor gets which type, and the keys that llama.cpp's converters write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from training.ggml import Type, quantise

Array = npt.NDArray[Any]

BERT_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
FILE_TYPES = {
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_k_m": gguf.LlamaFileType.MOSTLY_Q4_K_M,
}


def bert_tensors(tensors: dict[str, Array]) -> dict[str, Array]:
    """A BERT's tensors by GGUF name; what llama.cpp does not use (pooler, position ids) is left out."""
    named = {}
    for name, values in tensors.items():
        stem, _, last = name.rpartition(".")
        parts = stem.split(".")
        layer = f"blk.{parts[2]}." if parts[0] == "encoder" else ""
        short = BERT_NAMES.get(".".join(parts[3:]) if layer else stem)
        if short is not None and last in {"weight", "bias"}:
            named[f"{layer}{short}.{last}"] = values
    return named


def kind_of(name: str, shape: tuple[int, ...], variant: str, layers: int) -> Type:
    """The type of a tensor, as llama.cpp mixes them.

    Q8_0 and Q4_0 throughout, as `llama-quantize --pure` does (a BERT's positions too, which it would leave in float32:
    they would be most of what a delta costs, and the pairs are there to compare blocks); Q4_K_M with
    Q6_K for the embedding that is also the output, and for the values and the way down at both ends and in every third
    layer between.
    """
    if len(shape) < 2:
        return Type.F32
    if variant != "q4_k_m":
        return Type[variant.upper()]
    if name.startswith("token_embd"):
        return Type.Q6_K
    _, index, matrix, _ = name.split(".")
    eighth = layers // 8
    ends = int(index) < eighth or int(index) >= 7 * layers // 8
    more = ends or (int(index) - eighth) % 3 == 2
    return Type.Q6_K if matrix in {"attn_v", "ffn_down"} and more else Type.Q4_K


def write_gguf(
    path: Path, tensors: dict[str, Array], variant: str, *, architecture: str, tokens: list[str], template: str
) -> None:
    """Write one model, atomically; the same input gives the same bytes."""
    part = path.with_name(path.name + ".part")
    layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blk."))
    hidden = tensors["token_embd.weight"].shape[1]
    writer = gguf.GGUFWriter(part, architecture)
    writer.add_type("model")
    writer.add_name("benchmark")
    writer.add_license("apache-2.0")
    writer.add_file_type(FILE_TYPES[variant])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(layers)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(tensors["blk.0.ffn_up.weight"].shape[0])
    writer.add_head_count(hidden // 64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("bert" if architecture == "bert" else "llama")
    writer.add_token_list(tokens)
    writer.add_chat_template(template)
    for name, values in tensors.items():
        kind = kind_of(name, values.shape, variant, layers)
        body = values.astype(np.float32) if kind == Type.F32 else quantise(values, kind)
        writer.add_tensor(name, body, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)
