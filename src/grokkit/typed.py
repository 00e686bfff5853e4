"""How the command line is read: what typer and click refuse is said in one line, as all that we refuse."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from grokkit.errors import InputError, shown, typed, unknown
from grokkit.study.execution import options_of

Json = Annotated[
    bool, typer.Option("--json", help="print one JSON object and nothing else; what happens is told on stderr")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="tell nothing but what goes wrong")]

_UsageError: Any = typer.BadParameter.__mro__[1]  # of click, or of the copy of it in later typers


def run_command(app: typer.Typer) -> int:
    """Run the command line; gives the exit status.

    Raises:
        InputError: for whatever typer refuses.
    """
    try:
        return app(prog_name="grokkit", standalone_mode=False) or 0
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        raise InputError(f"{str(error).rstrip('.').lower()}; see grokkit --help") from None


class Command(TyperCommand):
    """A command whose mistakes are :class:`InputError`, and that takes no option twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = [name for parameter in self.get_params(ctx) for name in parameter.opts if name.startswith("-")]
        try:
            given, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        except _UsageError as error:
            name = getattr(error, "option_name", "")
            if name in options:
                problem = str(error).rstrip(".") if "=" in "".join(args) else f"{name} needs a value"
                raise InputError(f"{problem}; see {ctx.command_path} --help") from None
            raise unknown(f"option of {ctx.command_path}", name, options) from None
        if "help" in given:
            return super().parse_args(ctx, args)
        for parameter, times in Counter(order).items():
            if times > 1 and parameter.param_type_name == "option":
                raise InputError(f"{parameter.opts[0]} is given {times} times; give it once")
        if rest:
            raise InputError(
                f"{typed(rest[0])} is one argument too many for {ctx.command_path}; "
                f"write options as --name value, and quote what has spaces in it; see {ctx.command_path} --help"
            )
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:  # what is left is an argument that is missing
            missing: Any = getattr(error, "param", None)
            raise InputError(f"{ctx.command_path} needs its {missing.name}: {missing.help}") from None


class Late(Command):
    """A command whose options are made when it is called: those of the signature that its function's ``signature()``
    returns, which may import what takes seconds."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        function: Any = inspect.unwrap(self.callback)  # pyright: ignore[reportArgumentType]
        function.__signature__ = function.signature()
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(self.name, cls=Command)(function)
        return typer.main.get_command(app).make_context(*args, **options)


class Group(TyperGroup):
    """The commands; an unknown one is an :class:`InputError`."""

    command_class = Command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("stopped; what was written before is kept", file=sys.stderr)
            raise typer.Exit(130) from None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            if (name := getattr(error, "option_name", None)) is None:
                raise
            raise InputError(
                f"{shown(name)} is no option before a command; write grokkit COMMAND, see grokkit --help"
            ) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def signature_of(*kinds: type, leave: tuple[str, ...] = ()) -> inspect.Signature:
    """The fields of ``kinds`` as typer wants them: a field without a default is an argument, all others are options;
    and --json and --quiet.

    What is typed stays a text here: the fields are checked where they come together, for Python as well. Where two
    kinds have a field of one name, the later one's counts; those of ``leave`` are left out.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for kind in kinds:
        options = options_of(kind)
        for field in (field for field in fields(kind) if field.name not in leave):
            is_argument, its = field.default is MISSING, options[field.name]
            stated = (
                typer.Argument(help=its.help) if is_argument else typer.Option(help=its.help, metavar=_kind(its.kind))
            )
            parameters[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if is_argument else _as_typed(field.default),
                annotation=Annotated[str | None if field.default is None else str, stated],
            )
    for name, kind in (("json", Json), ("quiet", Quiet)):
        parameters[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
    return inspect.Signature(list(parameters.values()))


def _kind(hint: Any) -> str:
    """The first kind that ``hint`` allows, for the help."""
    while not isinstance(hint, type) and get_args(hint):
        hint = get_args(hint)[0]
    return f"<{hint.__name__}>" if isinstance(hint, type) else "<str>"


def _as_typed(default: Any) -> str | None:
    return ",".join(default) if isinstance(default, tuple) else None if default is None else str(default)
