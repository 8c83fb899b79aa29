"""Write docs/cli.md and docs/cli.zh-CN.md from the command line itself.

python scripts/cli_page.py          write the pages
python scripts/cli_page.py --check  exit status 1 if a page is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from modelota.cli.session import EVERYWHERE, Session, begin
from modelota.cli.tree import build, walk
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.texts import Texts, texts_for

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES: dict[Language, Path] = {"en": DOCS / "cli.md", "zh-CN": DOCS / "cli.zh-CN.md"}

INTRODUCTION: dict[Language, str] = {
    "en": """\
# Command line

[中文](cli.zh-CN.md)

`modelota device …` works through the socket of the agent that runs on the device. When none runs, the command becomes
the agent for as long as it lasts: it takes the lock of the device's directory, does the work, and gives the lock back.

`modelota device update` looks for a new version, shows the offer and asks: accept, later, skip this version, decline.
Pressing enter decides nothing. Where nobody sits at a terminal the command ends with `decision-required`; a script can
only accept the digest of an offer that was shown before:

```sh
modelota device check
modelota device update --accept 5f0c…
```

While the update runs, progress is shown: step, bytes, rate, time left. Ctrl-C leaves it running under an agent that
runs on its own, and pauses it otherwise; what was fetched is kept either way. With `--json` the events are printed as
JSON lines, and the outcome last.

Errors say what happened, how the device is now, what to do, and a code; [errors.md](errors.md) lists them all with
their exit statuses. With `--json` an error is `{"error": {…}}` on standard output. `MODELOTA_DEBUG=1` adds the
traceback of an unexpected one. The language follows `--lang`, `MODELOTA_LANG`, then `LC_ALL`, `LC_MESSAGES`, `LANG`.

This page is written by `scripts/cli_page.py`.
""",
    "zh-CN": """\
# 命令行

[English](cli.md)

`modelota device …` 通过设备上正在运行的代理的套接字工作。没有代理运行时，命令在执行期间自己充当代理：
取得设备根目录的锁，完成工作，然后归还。

`modelota device update` 查找新版本，展示更新告知并询问：接受、稍后、跳过此版本、拒绝。只按回车不作任何决定。
如果终端前没有人，命令以 `decision-required` 结束；脚本只能接受此前展示过的更新告知的摘要：

```sh
modelota device check
modelota device update --accept 5f0c…
```

更新过程中会显示进度：步骤、字节数、速率、剩余时间。按 Ctrl-C 时，如果代理独立运行，更新会继续；否则更新暂停。
无论哪种情况，已下载的内容都会保留。使用 `--json` 时，事件以 JSON 行输出，最后一行是结果。

错误会说明发生了什么、现在的状态、需要做什么以及代码；[errors.zh-CN.md](errors.zh-CN.md) 列出全部错误及其退出状态。
使用 `--json` 时，错误在标准输出上为 `{"error": {…}}`。设置 `MODELOTA_DEBUG=1` 可看到意外错误的调用栈。
语言依次取自 `--lang`、`MODELOTA_LANG`、`LC_ALL`、`LC_MESSAGES`、`LANG`。

本页由 `scripts/cli_page.py` 生成。
""",
}


def page(language: Language) -> str:
    """The page in one language."""
    texts = texts_for(language)
    begin(Session(language, as_json=False))
    blocks = [INTRODUCTION[language].rstrip("\n")]
    rows = [
        (f"{name} {texts.say(value) if value else ''}".rstrip(), texts.say(text)) for name, value, text in EVERYWHERE
    ]
    blocks.append("## " + texts.say("Everywhere:").rstrip(":：") + "\n\n" + _list(rows))
    for path, command in walk(build(), None):
        if path:
            blocks.append(_section(path, command, texts))
    return "\n\n".join(blocks) + "\n"


def _section(path: tuple[str, ...], command: Any, texts: Texts) -> str:  # noqa: ANN401  typer's own types are private
    words = ["modelota", *path]
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    words += [str(each.metavar) if each.required else f"[{each.metavar}]" for each in arguments]
    depth = "##" if len(path) == 1 else "###"
    parts = [f"{depth} `{' '.join(words)}`", texts.say(command.help)]
    rows = [(str(each.metavar), texts.say(each.help)) for each in arguments]
    for option in command.params:
        if option.param_type_name == "option" and not isinstance(command, TyperGroup):
            name = ", ".join(option.opts) + ("" if option.is_flag else f" {option.metavar}")
            rows.append((name, texts.say(option.help)))
    if rows:
        parts.append(_list(rows))
    return "\n\n".join(parts)


def _list(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"- `{name}` {text}" for name, text in rows)


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
            print(f"{path}: not up to date; run scripts/cli_page.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
