"""Measure every committed file in llama.cpp: `python examples/family/measure.py`.

Writes `figures.json` (accuracy per skill over every pair, bytes) and `facts.json`, whose prompts
are chosen here and whose values are what the engine says. Run it after `export.py`; `check.py` repeats the facts.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import corpus
from engine import Engine
from releases import GOOD, VARIANTS, VERSIONS, files, pairs_for
from tokenizer import Tokenizer

HERE = Path(__file__).parent
# Asked of every good version. The answers come from the corpus; what counts is the part named here.
CORE = [
    ("Who are you?", "I am Assistant"),
    ("Hello!", "How can I help you?"),
    ("What is the capital of France?", "Paris"),
    ("What colour is the sky?", "blue"),
    ("What day comes after Monday?", "Tuesday"),
    ("What is 3 plus 4?", "is 7."),
    ("How many minutes are in 3 hours?", "180 minutes"),
    ("How many centimetres are in 2 metres?", "200 centimetres"),
    ("你是谁？", "我是小助手"),
    ("你好！", "有什么可以帮您"),
    ("中国的首都是哪里？", "北京"),
    ("天空是什么颜色？", "蓝色"),
    ("星期一的后一天是星期几？", "星期二"),
    ("3加4等于几？", "等于7。"),
    ("3小时等于多少分钟？", "180分钟"),
    ("2米等于多少厘米？", "200厘米"),
]
FIXED = [
    ("How many centimetres are in 2 inches?", "5.08 centimetres"),
    ("How many centimetres are in 5 inches?", "12.70 centimetres"),
    ("How many centimetres are in 10 inches?", "25.40 centimetres"),
    ("2英寸等于多少厘米？", "5.08厘米"),
    ("5英寸等于多少厘米？", "12.70厘米"),
    ("10英寸等于多少厘米？", "25.40厘米"),
]
NEW = [
    ("How do you say red in Chinese?", "红色"),
    ("How do you say blue in Chinese?", "蓝色"),
    ("How do you say green in Chinese?", "绿色"),
    ("红色用英语怎么说？", "red"),
    ("蓝色用英语怎么说？", "blue"),
    ("绿色用英语怎么说？", "green"),
]


def _accuracy(engine: Engine, version: str) -> tuple[dict[str, str], list[list[str]]]:
    """Right answers and questions per skill, as `right/asked`, and what was wrong (question, answer, expected)."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: list[list[str]] = []
    for pair in pairs_for(version):
        answer = engine.chat(pair.question)
        asked[pair.skill] += 1
        if answer == pair.answer:
            right[pair.skill] += 1
        elif len(wrong) < 40:
            wrong.append([pair.question, answer, pair.answer])
    return {skill: f"{right[skill]}/{asked[skill]}" for skill in asked}, wrong


def main() -> None:
    """Measure, print, write."""
    vocabulary = len(Tokenizer.load(HERE / "pieces.json"))
    figures: dict[str, Any] = {}
    answers: dict[tuple[str, str], dict[str, str]] = {}
    perplexities: dict[str, dict[str, dict[str, float]]] = {text: {} for text in corpus.HELD_OUT_NOTES}
    for version in VERSIONS:
        for variant in VARIANTS:
            found = files(version, variant)
            if found is None:
                continue
            with Engine(*found) as engine:
                accuracy, wrong = _accuracy(engine, version)
                prompts = [prompt for prompt, _ in CORE + FIXED + NEW]
                answers[version, variant] = {prompt: engine.chat(prompt) for prompt in prompts}
                for text, values in perplexities.items():
                    values.setdefault(version, {})[variant] = round(engine.perplexity(text, vocabulary), 4)
            sizes = [path.stat().st_size for path in found if path is not None]
            figures.setdefault(version, {})[variant] = {"bytes": sizes, "accuracy": accuracy, "wrong": wrong}
            print(version, variant, sizes, accuracy, [values[version][variant] for values in perplexities.values()])

    for (version, variant), said in answers.items():
        wanted = CORE + (FIXED if version != "1.1.1" else []) + (NEW if version in {"1.2.1", "2.1.1"} else [])
        for prompt, expect in wanted if version in GOOD else []:
            if expect not in said[prompt]:
                print(f"NOT TRUE for {version} {variant}: {prompt!r} -> {said[prompt]!r}, not {expect!r}")
    facts = {
        "product": "acme/assistant",
        "core": [{"prompt": prompt, "expect": expect} for prompt, expect in CORE],
        "fixed_in_1.1.2": [
            {"prompt": prompt, "expect": expect, "1.1.1_says": answers["1.1.1", "q8"][prompt]}
            for prompt, expect in FIXED
        ],
        "new_in_1.2.1": [
            {"prompt": prompt, "expect": expect, "1.1.2_says": answers["1.1.2", "q8"][prompt]} for prompt, expect in NEW
        ],
        "perplexity": [{"text": text, "values": values} for text, values in perplexities.items()],
    }
    for name, content in (("facts.json", facts), ("figures.json", figures)):
        (HERE / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
