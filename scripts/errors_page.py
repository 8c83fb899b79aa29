"""Write docs/errors.md and docs/errors.zh-CN.md from the tables the program itself speaks from.

python scripts/errors_page.py          write the pages
python scripts/errors_page.py --check  exit status 1 if a page is not what would be written
"""

from __future__ import annotations

import argparse
import string
import sys
from pathlib import Path

from modelota.errors import CODES, AskPerson, OurBug, RefuseContent, TryLater
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.sentences import SENTENCES
from modelota.i18n.sentences.now import NOW
from modelota.i18n.texts import Texts, texts_for

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES: dict[Language, Path] = {"en": DOCS / "errors.md", "zh-CN": DOCS / "errors.zh-CN.md"}
BRANCHES = (TryLater, RefuseContent, AskPerson, OurBug)

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "colon": ": ",
        "title": "Errors",
        "other": "[中文](errors.zh-CN.md)",
        "intro": (
            "Every error has a code that never changes its meaning, and says what happened, how the device is now, and "
            'what to do. With `--json` a command prints `{"error": {"code", "branch", "params", "what", '
            '"state", "remedy", "now", "now_params"}}` on standard output and nothing else. Over the agent\'s '
            "socket an error is its code and parameters; whoever shows it renders it in the reader's language."
        ),
        "generated": "This page is written by `scripts/errors_page.py` from the texts the program uses.",
        "branch": "Branch",
        "meaning": "What the caller should do",
        "status": "Exit status",
        "try-later": "The same call may succeed later without anyone changing anything.",
        "refuse-content": "What was published, fetched or stored is not acceptable; trying again will not help.",
        "ask-person": "A person has to decide, correct an input, or repair something.",
        "our-bug": "A mistake in modelota itself.",
        "stopped": "A command that the user stopped with Ctrl-C ends with status 130.",
        "now": "How the device is now",
        "key": "Key",
        "sentence": "Sentence",
        "what": "What happened",
        "remedy": "What to do",
        "params": "Parameters",
        "detail": "Details",
    },
    "zh-CN": {
        "colon": "：",
        "title": "错误",
        "other": "[English](errors.md)",
        "intro": (
            "每个错误都有一个含义永不改变的代码，并说明发生了什么、设备现在怎样、需要做什么。使用 `--json` 时，"
            "命令只在标准输出打印 "
            '`{"error": {"code", "branch", "params", "what", "state", "remedy", "now", "now_params"}}`。'
            "经由代理的套接字传递时，错误只含代码和参数，由显示它的一方以读者的语言呈现。"
        ),
        "generated": "本页由 `scripts/errors_page.py` 根据程序所用的文案生成。",
        "branch": "类别",
        "meaning": "调用者应当怎么做",
        "status": "退出状态",
        "try-later": "无需任何改动，稍后重试同一操作可能成功。",
        "refuse-content": "所发布、获取或存储的内容不可接受，重试没有用。",
        "ask-person": "需要有人作出决定、更正输入或进行修复。",
        "our-bug": "modelota 自身的错误。",
        "stopped": "用户以 Ctrl-C 停止的命令，退出状态为 130。",
        "now": "设备现在怎样",
        "key": "键",
        "sentence": "文案",
        "what": "发生了什么",
        "remedy": "需要做什么",
        "params": "参数",
        "detail": "细节",
    },
}


def page(language: Language) -> str:
    """The page in one language."""
    words, texts = WORDS[language], texts_for(language)
    lines = [f"# {words['title']}", "", words["other"], "", words["intro"], "", words["generated"], ""]
    lines += [f"| {words['branch']} | {words['meaning']} | {words['status']} |", "|---|---|---|"]
    lines += [f"| `{kind.branch}` | {words[kind.branch]} | {kind.exit_status} |" for kind in BRANCHES]
    lines += ["", words["stopped"], "", f"## {words['now']}", ""]
    lines += [f"| {words['key']} | {words['sentence']} |", "|---|---|"]
    lines += [f"| `{key}` | {_shown(texts, sentence)} |" for key, sentence in NOW.items()]
    for kind in BRANCHES:
        lines += ["", f"## `{kind.branch}`", "", words[kind.branch]]
        for code in sorted(code for code, branch in CODES.items() if branch == kind.branch):
            lines += ["", f"### {code}", "", *_entry(code, words, texts)]
    return "\n".join(lines) + "\n"


def _entry(code: str, words: dict[str, str], texts: Texts) -> list[str]:
    sentence = SENTENCES[code]
    lines = [
        f"- {words['what']}{words['colon']}{_shown(texts, sentence.what)}",
        f"- {words['remedy']}{words['colon']}{_shown(texts, sentence.remedy)}",
    ]
    names = sorted(_names(sentence.what) | _names(sentence.remedy) | ({"detail"} if sentence.details else set()))
    if names:
        lines.append(f"- {words['params']}{words['colon']}{', '.join(f'`{name}`' for name in names)}")
    if sentence.details:
        lines.append(f"- {words['detail']}{words['colon'].rstrip()}")
        lines += [f"  - `{detail}`{words['colon']}{_shown(texts, text)}" for detail, text in sentence.details.items()]
    return lines


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _shown(texts: Texts, template: str) -> str:
    return texts.say(template, **{name: f"‹{name}›" for name in _names(template)}).replace("|", "\\|")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    status = 0
    for language in LANGUAGES:
        path = PAGES[language]
        if not check:
            path.write_text(page(language), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page(language):
            print(f"{path}: not up to date; run scripts/errors_page.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
