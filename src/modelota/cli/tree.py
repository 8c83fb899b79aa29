"""The tree of commands: loaded when used, with help in the reader's language."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from modelota.cli.session import EVERYWHERE, current
from modelota.cli.values import convert_plainly
from modelota.errors import AskPerson
from modelota.i18n.texts import Texts, mark, pad, width

_INDENT: Final = "  "

# Subcommands of `modelota`: module whose `app` (or `command`) it is, and its summary.
ROOMS: Final[Mapping[str, tuple[str, str]]] = {
    "device": ("modelota.cli.device", mark("Update and operate models on this device.")),
    "repo": ("modelota.cli.repo", mark("Publish models.")),
    "conformance": ("modelota.cli.conformance", mark("Check a product against the standard.")),
    "version": ("modelota.cli.version", mark("Show the version of modelota.")),
}


class Command(TyperCommand):
    """A command whose help is rendered by this package."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types are private
        """The options and arguments, converted by this package."""
        return _plain(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  typer's own types are private
        """Write the help page."""
        formatter.write(_page(self, ctx))


class Group(TyperGroup):
    """A group of commands whose help is rendered by this package."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types are private
        """The options and arguments, converted by this package."""
        return _plain(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  typer's own types are private
        """Write the help page."""
        formatter.write(_page(self, ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own types are private
        """Show the help page when no command follows, unless the group does something by itself."""
        if not args and not self.invoke_without_command:
            tell_commands(ctx)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  typer's own types are private
        """Find a command by name."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise AskPerson("argument-invalid", argument=args[0], detail="unknown-command")
        return super().resolve_command(ctx, args)


class Root(Group):
    """`modelota`: its subcommands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  typer's own types are private
        """Names of all subcommands."""
        return list(ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002  typer's own types are private
        """Import a subcommand."""
        if cmd_name not in ROOMS:
            return None
        if cmd_name not in self.commands:
            app: typer.Typer = importlib.import_module(ROOMS[cmd_name][0]).app
            loaded = typer.main.get_command(app)
            loaded.name = cmd_name
            self.commands[cmd_name] = loaded
        return self.commands[cmd_name]


def build() -> Root:
    """The whole command line."""
    return Root(name="modelota", help=mark("Update and operate large models on devices."))


def make_app(summary: str) -> typer.Typer:
    """An empty group of commands."""
    app = typer.Typer(
        cls=Group, help=summary, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )

    @app.callback()
    def callback() -> None:
        pass  # makes it a group even while it has one command

    return app


def walk(command: Any, ctx: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """All commands below `command`, each with the words that call it. Imports every subcommand."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name in command.list_commands(ctx):
            yield from walk(command.get_command(ctx, name), ctx, (*path, name))


def tell_commands(ctx: Any) -> NoReturn:  # noqa: ANN401  typer's own types are private
    """Print the help page of a group that was called without a command, and end.

    Raises:
        AskPerson: `argument-invalid`: a program called it, which reads no help.
        typer.Exit: always, otherwise.
    """
    if current().as_json:
        raise AskPerson("argument-invalid", argument=ctx.command_path, detail="missing-command")
    current().line(_page(ctx.command, ctx).rstrip("\n"))
    raise typer.Exit(AskPerson.exit_status)


def _plain(params: Any) -> Any:  # noqa: ANN401  typer's own types are private
    for param in params:
        convert_plainly(param)
    return params


def _page(command: Any, ctx: Any) -> str:  # noqa: ANN401  typer's own types are private
    texts = current().texts
    usage = [ctx.command_path]
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    for argument in arguments:
        name = _argument_name(argument)
        usage.append(name if argument.required else f"[{name}]")
    usage.append(texts.say("[OPTIONS]"))
    if isinstance(command, TyperGroup):
        usage.append(texts.say("COMMAND …"))
    blocks = [texts.say("Usage: {usage}", usage=" ".join(usage)), _translated(command.help or "", texts)]
    if isinstance(command, TyperGroup):
        rows = [(name, _summary(command, name, ctx, texts)) for name in command.list_commands(ctx)]
        blocks.append(_section(texts.say("Commands:"), rows))
    if arguments:
        rows = [(_argument_name(param), _translated(param.help or "", texts)) for param in arguments]
        blocks.append(_section(texts.say("Arguments:"), rows))
    if options:
        rows = [(_option_name(param, texts), _translated(param.help or "", texts)) for param in options]
        blocks.append(_section(texts.say("Options:"), rows))
    rows = [
        (f"{name} {texts.say(value) if value else ''}".rstrip(), texts.say(help_)) for name, value, help_ in EVERYWHERE
    ]
    blocks.append(_section(texts.say("Everywhere:"), rows))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _section(heading: str, rows: list[tuple[str, str]]) -> str:
    columns = max(width(name) for name, _ in rows) + 2
    lines = [heading]
    for name, text in rows:
        first, *more = text.split("\n")
        lines.append(f"{_INDENT}{pad(name, columns)}{first}".rstrip())
        lines += [f"{_INDENT}{' ' * columns}{line}" for line in more]
    return "\n".join(lines)


def _summary(group: TyperGroup, name: str, ctx: Any, texts: Texts) -> str:  # noqa: ANN401  typer's types are private
    if isinstance(group, Root):
        return texts.say(ROOMS[name][1])
    command = group.get_command(ctx, name)
    text = _translated((command.help if command else None) or "", texts)
    return text.split("\n")[0]


def _argument_name(argument: Any) -> str:  # noqa: ANN401  typer's own types are private
    return str(argument.metavar or argument.name.upper())


def _option_name(option: Any, texts: Texts) -> str:  # noqa: ANN401  typer's own types are private
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    return f"{names} {texts.say(option.metavar) if option.metavar else option.name.upper()}"


def _translated(msgid: str, texts: Texts) -> str:
    return texts.say(msgid) if msgid else ""
