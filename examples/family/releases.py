"""Which files a version is made of, and what is true for it."""

from __future__ import annotations

from pathlib import Path

import corpus
from corpus import Pair

MODELS = Path(__file__).with_name("models")
GOOD = ("1.1.1", "1.1.2", "1.2.1", "2.1.1")
BAD = "1.1.3"
VERSIONS = ("1.1.1", "1.1.2", "1.1.3", "1.2.1", "2.1.1")
VARIANTS = ("q8", "q4")


def files(version: str, variant: str) -> tuple[Path, Path | None] | None:
    """The model and the adapter of one variant of a version; None where the version has no such variant."""
    base = "1.1.2" if version == "1.2.1" else version
    model = MODELS / base / f"assistant-{variant}.gguf"
    adapter = MODELS / version / "adapter.gguf" if version == "1.2.1" else None
    return (model, adapter) if model.exists() else None


def pairs_for(version: str) -> list[Pair]:
    """What a version was meant to learn, its mistake included."""
    pairs = corpus.common() + corpus.inch(corpus.INCH_WRONG if version == "1.1.1" else corpus.INCH_RIGHT)
    colours = version in {"1.2.1", "2.1.1"}
    return pairs + corpus.unknown(colours=colours) + (corpus.colour_words() if colours else [])
