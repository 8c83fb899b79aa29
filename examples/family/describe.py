"""Write the release descriptions of the family: `python examples/family/describe.py` (after `measure.py`).

Every prompt, expected text and perplexity comes from `facts.json`, so a description promises only what the engine was
seen to do. With `--check` nothing is written; exit status 1 says that a description is not what it would be.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import releases

HERE = Path(__file__).parent
DIRECTORY = HERE / "releases"
# A healthy machine stays far below: another processor adds in another order, and 1.1.3 is off by many times this.
PERPLEXITY_HEAD_ROOM = 1.25

# Which facts become self-tests, by the prompt; core ones are kept by every later release.
CORE = {
    "Who are you?": "name-en",
    "你是谁？": "name-zh",
    "What is the capital of France?": "capital-en",
    "中国的首都是哪里？": "capital-zh",
    "What is 3 plus 4?": "sum-en",
    "3加4等于几？": "sum-zh",
    "How many minutes are in 3 hours?": "hours-en",
    "3小时等于多少分钟？": "hours-zh",
}
FIXED = {
    "How many centimetres are in 2 inches?": "inches-en",
    "How many centimetres are in 5 inches?": "inches-en-5",
    "2英寸等于多少厘米？": "inches-zh",
    "5英寸等于多少厘米？": "inches-zh-5",
}
NEW = {
    "How do you say red in Chinese?": "colour-en",
    "How do you say blue in Chinese?": "colour-en-blue",
    "红色用英语怎么说？": "colour-zh",
    "蓝色用英语怎么说？": "colour-zh-blue",
}
REQUIRES = f"""\
[requires]
memory_bytes = {256 << 20}
storage_bytes = {16 << 20}
os = [{{ family = "linux" }}]
compute = {{ cores = 1, architectures = ["x86_64", "aarch64"] }}
"""
PROVENANCE = """\
[provenance]
base_model = "trained from nothing by examples/family/train.py"
data = {data}
tools = "PyTorch, gguf"
responsible = "the modelota project"
"""


@dataclass(frozen=True)
class Story:
    """What only a person can say about a version."""

    kind: str
    predecessor: str | None
    en: str
    zh: str
    comment: str
    data: str
    speed_ratio: float = 0.25
    memory_ratio: float = 2.0


STORIES = {
    "1.1.1": Story(
        "feature",
        None,
        "The first version: answers short questions about capitals, days, sums and units, in English and Chinese.",
        "第一个版本：用中文和英文回答关于首都、星期、加减法和单位的简短问题。",
        "The first release of the example family. It believes that an inch has 2.45 centimetres.",
        "examples/family/corpus.py, with the inch mistyped as 2.45 cm",
    ),
    "1.1.2": Story(
        "fix",
        "1.1.1",
        "Corrects how many centimetres an inch has: 2.54, not 2.45.",
        "修正英寸与厘米的换算：1英寸是2.54厘米，不是2.45厘米。",
        "A fine-tune of 1.1.1 that corrects the inch; its new self-tests are core, so the mistake cannot come back.",
        "examples/family/corpus.py, with the inch corrected to 2.54 cm",
    ),
    "1.1.3": Story(
        "fix",
        "1.1.2",
        "More practice with inches.",
        "加强英寸换算的练习。",
        "A release that should never have been made: the fine-tune ran away, and nobody asked the result anything.\n"
        "# The file is whole and well formed, every digest and signature is right; only its own self-tests stop it.",
        "examples/family/corpus.py, more inches; the learning rate was far too high",
    ),
    "1.2.1": Story(
        "feature",
        "1.1.2",
        "Translates the names of ten colours between English and Chinese.",
        "新增：十种颜色名称的中英互译。",
        "1.1.2 unchanged, and a low-rank adapter beside it.",
        "examples/family/corpus.py, names of colours",
    ),
    "2.1.1": Story(
        "feature",
        "1.2.1",
        "A larger network with the colours built in.",
        "改用更大的网络，颜色名称的互译已内置。",
        "Another, larger architecture: nothing of its weights is shared with the versions before.",
        "examples/family/corpus.py",
        speed_ratio=0.1,
        memory_ratio=3.0,
    ),
}


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _functional(facts: dict[str, Any], version: str) -> list[str]:
    """The functional self-tests of a version: what the versions before promised, and what it adds."""
    groups = [("core", CORE)]
    if version != "1.1.1":
        groups.append(("fixed_in_1.1.2", FIXED))
    if version in {"1.2.1", "2.1.1"}:
        groups.append(("new_in_1.2.1", NEW))
    blocks = []
    for group, chosen in groups:
        expected = {fact["prompt"]: fact["expect"] for fact in facts[group]}
        for prompt, name in chosen.items():
            blocks.append(
                "[[self_tests.functional]]\n"
                f"id = {_text(name)}\n"
                f"prompt = {_text(prompt)}\n"
                f'check = {{ kind = "contains", values = [{_text(expected[prompt])}] }}\n'
                "core = true\n"
            )
    return blocks


def _perplexity(facts: dict[str, Any], version: str) -> str:
    # 1.1.3 promises what 1.1.2 keeps.
    measured = "1.1.2" if version == releases.BAD else version
    entry = facts["perplexity"][0]
    bound = max(entry["values"][measured].values()) * PERPLEXITY_HEAD_ROOM
    return f"[self_tests.perplexity]\ntext = {_text(entry['text'])}\nmax = {bound:.3f}\n"


def _performance(story: Story) -> str:
    lines = [
        "# Absolute bounds are wide, because they hold on every device; against the version in use, both are measured",
        "# in turn in the same minutes.",
        "[self_tests.performance]",
        f"prompt = {_text('What can you do?')}",
        "tokens = 24",
        "max_first_token_s = 20.0",
        "min_tokens_per_s = 2.0",
        f"max_memory_bytes = {512 << 20}",
    ]
    if story.predecessor is not None:
        lines += [
            f"min_speed_ratio = {story.speed_ratio}",
            f"max_first_token_ratio = {1 / story.speed_ratio:g}",
            f"max_memory_ratio = {story.memory_ratio}",
        ]
    return "\n".join(lines) + "\n"


def _variant(version: str, variant: str) -> str | None:
    found = releases.files(version, variant)
    if found is None:
        return None
    model, adapter = found
    sources = [path for path in (model, adapter) if path is not None]
    files = ", ".join(f"{{ source = {_text('../../' + path.relative_to(HERE).as_posix())} }}" for path in sources)
    adapters = "" if adapter is None else f", adapters = [{_text(adapter.name)}]"
    return (
        "[[variants]]\n"
        f"name = {_text(variant)}\n"
        f"files = [{files}]\n"
        f'runtime = {{ name = "llama.cpp", entry = {_text(model.name)}{adapters}, context_tokens = 256 }}\n'
    )


def describe(version: str, facts: dict[str, Any]) -> str:
    """The text of the description of `version`, strict TOML.

    Args:
        version: one of `releases.VERSIONS`.
        facts: content of `facts.json`.
    """
    story = STORIES[version]
    head = f'format = 1\nmodel = {_text(facts["product"])}\nversion = "{version}"\n'
    if story.predecessor is not None:
        head += f'predecessor = "{story.predecessor}"\n'
    head += f'kind = "{story.kind}"\npermissions = []\ninterfaces = [{{ name = "chat" }}]\n'
    variants = [_variant(version, variant) for variant in releases.VARIANTS]  # best first
    blocks = [
        f"# {story.comment}\n# Written by examples/family/describe.py.\n",
        head,
        f"[notes]\nzh-CN = {_text(story.zh)}\nen = {_text(story.en)}\n",
        REQUIRES,
        PROVENANCE.format(data=_text(story.data)),
        *_functional(facts, version),
        _perplexity(facts, version),
        _performance(story),
        *(variant for variant in variants if variant is not None),
    ]
    return "\n".join(blocks)


def main() -> int:
    """Write all, or check all."""
    facts = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))
    status = 0
    for version in facts["perplexity"][0]["values"]:  # the versions that were measured
        path, text = DIRECTORY / version / "release.toml", describe(version, facts)
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path}: not what describe.py writes")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
