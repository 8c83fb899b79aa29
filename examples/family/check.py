"""Check every committed file in llama.cpp against `facts.json`: `python examples/family/check.py`.

Prints a line per file and per fact that does not hold; exits with 1 if there was one. Needs xllamacpp and NumPy.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import corpus
from engine import Engine
from releases import BAD, VARIANTS, VERSIONS, files, pairs_for
from tokenizer import Tokenizer

HERE = Path(__file__).parent
# Another processor adds in another order; a broken file is off by far more.
PERPLEXITY_TOLERANCE = 0.02
# The failed release must be this many times worse than the version before it.
BAD_PERPLEXITY_FACTOR = 8.0


def _expected(facts: dict[str, Any], version: str) -> list[tuple[str, str, bool]]:
    """(prompt, text, whether the answer must contain it) for a version."""
    good = version != BAD
    expected = [(fact["prompt"], fact["expect"], good) for fact in facts["core"]]
    fixed = good and version != "1.1.1"
    expected += [(fact["prompt"], fact["expect"], fixed) for fact in facts["fixed_in_1.1.2"]]
    if version == "1.1.1":
        expected += [(fact["prompt"], fact["1.1.1_says"], True) for fact in facts["fixed_in_1.1.2"]]
    new = version in {"1.2.1", "2.1.1"}
    return expected + [(fact["prompt"], fact["expect"], new) for fact in facts["new_in_1.2.1"]]


def check(version: str, variant: str, facts: dict[str, Any], vocabulary: int) -> list[str]:
    """What does not hold for one variant of a version; empty is good."""
    found = files(version, variant)
    if found is None:
        return []
    problems = []
    with Engine(*found) as engine:
        for prompt, text, present in _expected(facts, version):
            answer = engine.chat(prompt)
            if (text in answer) != present:
                problems.append(f"{prompt!r}: {answer!r} {'lacks' if present else 'has'} {text!r}")
        for entry in facts["perplexity"]:
            recorded, value = entry["values"][version][variant], engine.perplexity(entry["text"], vocabulary)
            if abs(value / recorded - 1) > PERPLEXITY_TOLERANCE:
                problems.append(f"perplexity {value:.4f}, recorded {recorded:.4f}: {entry['text'][:20]!r}...")
            if version == BAD and value < BAD_PERPLEXITY_FACTOR * entry["values"]["1.1.2"][variant]:
                problems.append(f"perplexity {value:.4f} is not bad enough for a release that must fail")
    return [f"{version} {variant}: {problem}" for problem in problems]


def check_tokens() -> list[str]:
    """Texts that `tokenizer.py` and llama.cpp cut differently: the whole corpus, notes, and what is not in it."""
    tokenizer = Tokenizer.load(HERE / "pieces.json")
    rng = random.Random(0)
    pairs = [pair for version in ("1.1.1", "2.1.1") for pair in pairs_for(version)]
    texts = {pair.question for pair in pairs} | {pair.answer for pair in pairs}
    texts |= {corpus.notes(rng) for _ in range(200)} | {corpus.nonsense(rng).question for _ in range(200)}
    texts |= set(corpus.HELD_OUT_NOTES)
    texts |= {"  two  spaces ", "Zürich\n\tD&D", "龍と猫 🐈", "a", "Who are you?你是谁？3.14159"}
    found = files("1.1.1", "q8")
    if found is None:
        return ["1.1.1 q8 is missing"]
    with Engine(*found) as engine:
        different = [text for text in sorted(texts) if engine.tokenize(text) != tokenizer.encode(text)]
    return [f"tokens differ: {text!r}" for text in different]


def main() -> int:
    """Check all; 0 if everything holds."""
    facts = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))
    vocabulary = len(Tokenizer.load(HERE / "pieces.json"))
    problems = check_tokens()
    for version in VERSIONS:
        for variant in VARIANTS:
            if files(version, variant) is not None:
                found = check(version, variant, facts, vocabulary)
                print(f"{version} {variant}: {'holds' if not found else f'{len(found)} problems'}")
                problems += found
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
