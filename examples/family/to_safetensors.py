"""A safetensors directory, as Transformers reads it, of one member of the family.

    python examples/family/to_safetensors.py models/1.1.1/assistant-q8.gguf OUT
    python examples/family/to_safetensors.py CHECKPOINTS/1.1.1 OUT --dtype bf16     (what train.py wrote)

A GGUF file is dequantised first; a checkpoint keeps what training knew. Heads are reordered: llama.cpp turns
neighbouring pairs of values, Transformers turns the two halves of a head.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tokenizer import BOS, CHAT_TEMPLATE, END, SPECIAL, UNKNOWN, Tokenizer

Array = npt.NDArray[Any]

DTYPES = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
TORCH_DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def read_gguf(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors of a GGUF file in float32 by name, and its sizes under the names of `arch.Shape`."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> Any:  # noqa: ANN401 - a field is whatever the file says it is
        field = reader.get_field(key)
        if field is None:
            raise ValueError(f"{path} lacks {key}: not a member of the family")
        return field.contents()

    shape = {
        "layers": value("llama.block_count"),
        "vocabulary": value("llama.vocab_size"),
        "hidden": value("llama.embedding_length"),
        "heads": value("llama.attention.head_count"),
        "kv_heads": value("llama.attention.head_count_kv"),
        "feed_forward": value("llama.feed_forward_length"),
        "context": value("llama.context_length"),
        "rope_base": value("llama.rope.freq_base"),
        "norm_epsilon": value("llama.attention.layer_norm_rms_epsilon"),
    }
    tensors = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    return tensors, shape


def read_checkpoint(folder: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The same of what `train.py` wrote for a version."""
    with np.load(folder / "checkpoint.npz") as archive:
        tensors = {name: archive[name] for name in archive.files}
    return tensors, json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["shape"]


def renamed(tensors: dict[str, Array], shape: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    """(name, values) as Transformers has them."""
    for name, values in tensors.items():
        *layer, part, _ = name.split(".")
        prefix = f"model.layers.{layer[1]}." if layer else ""
        if part in {"attn_q", "attn_k"}:
            heads = shape["heads" if part == "attn_q" else "kv_heads"]
            rows, columns = values.shape
            pairs = values.reshape(heads, rows // heads // 2, 2, columns)
            values = pairs.transpose(0, 2, 1, 3).reshape(rows, columns)  # noqa: PLW2901
        yield f"{prefix}{NAMES[part]}.weight", values


def as_bytes(values: Array, dtype: str) -> bytes:
    """Little-endian values of a dtype; bfloat16 is rounded to the nearest, ties to even."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    if dtype == "f16":
        return values.astype("<f2").tobytes()
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def write_safetensors(path: Path, tensors: dict[str, Array], dtype: str) -> None:
    """Write tensors, by name, in one file: header length (u64), header (JSON, padded to 8 bytes), values."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts = []
    offset = 0
    for name in sorted(tensors):
        part = as_bytes(tensors[name], dtype)
        end = offset + len(part)
        header[name] = {"dtype": DTYPES[dtype], "shape": list(tensors[name].shape), "data_offsets": [offset, end]}
        parts.append(part)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(parts)


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer for the `tokenizers` library: its merges are every way to make a piece of two, best piece first."""
    tokens = tokenizer.tokens()
    known = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    merges = []
    for piece in tokenizer.pieces:
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        merges += [[left, right] for left, right in halves if left in known and right in known]
    special = [
        {
            "id": i, "content": token, "special": True,
            "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        }
        for i, token in enumerate(SPECIAL)
    ]  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": SPECIAL[UNKNOWN],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def configuration(shape: dict[str, Any], dtype: str) -> dict[str, Any]:
    """`config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["feed_forward"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["hidden"] // shape["heads"],
        "vocab_size": shape["vocabulary"],
        "max_position_embeddings": shape["context"],
        "rope_theta": shape["rope_base"],
        "rms_norm_eps": shape["norm_epsilon"],
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "torch_dtype": TORCH_DTYPES[dtype],
    }


def main() -> None:
    """Convert one member."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a GGUF file, or a version's directory that train.py wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    options = parser.parse_args()
    read = read_checkpoint if options.source.is_dir() else read_gguf
    tensors, shape = read(options.source)
    options.out.mkdir(parents=True, exist_ok=True)
    write_safetensors(options.out / "model.safetensors", dict(renamed(tensors, shape)), options.dtype)
    documents = {
        "config.json": configuration(shape, options.dtype),
        "generation_config.json": {"bos_token_id": BOS, "eos_token_id": END, "do_sample": False},
        "tokenizer.json": tokenizer_json(Tokenizer.load(Path(__file__).with_name("pieces.json"))),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL[BOS],
            "eos_token": SPECIAL[END],
            "unk_token": SPECIAL[UNKNOWN],
            "model_max_length": shape["context"],
            "clean_up_tokenization_spaces": False,
            "chat_template": "{{ bos_token }}" + CHAT_TEMPLATE,
        },
    }
    for name, content in documents.items():
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (options.out / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
