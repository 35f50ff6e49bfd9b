"""One declaration a command: a typed function becomes the click command and the checked function.

A parameter is annotated with `Annotated[type, Option(...)]`. Keyword-only parameters are options of
the command, the others are its arguments; defaults are those of the signature, and the docstring is
the help. This module and what it imports must stay light: `dfdc-prep --help` waits for it.
"""

import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, ParamSpec, TypeVar, get_origin

import click

from dfdc_prep.commands.terminal import (
    MIN_MEMORY_BYTES,
    MIN_TRAINING_MEMORY_BYTES,
    echo_parts,
    reporting_errors,
)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Given = Mapping[str, Any]

_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print the same numbers as JSON.")
_commands: dict[Callable[..., Any], click.Command] = {}
#: The decorated function of each checked one.
_declared: dict[Callable[..., Any], Callable[..., Any]] = {}


@dataclass(frozen=True)
class Option:
    """The type and the help of an option or argument."""

    type: "click.ParamType[Any]"
    help: str
    #: What None, the default, stands for.
    none: str | None = None
    metavar: str | None = None
    multiple: bool = False
    #: For arguments: -1 for any number.
    nargs: int = 1
    #: The value that stands for None, by preset.
    presets: Mapping[str, Any] = field(default_factory=dict)

    def or_preset(self, value: T | None, preset: str) -> T:
        """The value given, or that of the preset."""
        chosen: T = self.presets[preset] if value is None else value
        return chosen

    @property
    def shown_default(self) -> str | None:
        """What None stands for."""
        if self.none is None and self.presets:
            return f"{next(iter(self.presets.values()))}, or the preset's"
        return self.none

    def parameter(self, name: str, signature: inspect.Parameter) -> click.Parameter:
        """The option or the argument of the command."""
        default = None if signature.default is signature.empty else signature.default
        if signature.kind is not signature.KEYWORD_ONLY:
            if self.nargs == -1:
                return click.Argument([name], type=self.type, metavar=self.metavar, nargs=-1)
            if signature.default is signature.empty:
                return click.Argument([name], type=self.type, metavar=self.metavar)
            return click.Argument([name], type=self.type, metavar=self.metavar, default=default)
        flag = f"--{name.replace('_', '-')}"
        if self.type is click.BOOL:
            flag = f"{flag}/--no-{flag[2:]}" if default else flag
            return click.Option([flag], is_flag=True, default=default, help=self.help)
        return click.Option(
            [flag],
            type=self.type,
            default=None if self.multiple else default,
            help=self.help,
            metavar=self.metavar,
            multiple=self.multiple,
            show_default=self.shown_default or True,
        )


def flag(text: str) -> Option:
    """An option that is on or off."""
    return Option(click.BOOL, text)


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The options and arguments that a function declares, by name."""
    parameters = inspect.signature(_declared.get(function, function)).parameters
    return {name: each.annotation.__metadata__[0] for name, each in parameters.items()}


def command_of(function: Callable[..., Any]) -> click.Command:
    """The command of a declared function."""
    return _commands[function]


def command(
    name: str | None = None,
    *,
    cls: type[click.Command] = click.Command,
    hints: Callable[[Any, Given], Iterable[str]] = lambda result, given: (),
    exit_code: Callable[[Any], int] = lambda result: 0,
    has_json: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a command; the decorated function checks its arguments as the command does.

    It raises ValueError with the command's message where a value is not allowed. None is passed on
    where it is the parameter's default.

    Args:
        name: of the command, where it is not that of the function.
        hints: lines for stderr after a result and its arguments.
        exit_code: of a result.
        has_json: whether the command has the option --json.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature, options = inspect.signature(function), options_of(function)
        text, _, raises = inspect.cleandoc(function.__doc__ or "").partition("\nRaises:\n")

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            for each, value in given.arguments.items():
                if value is not None or signature.parameters[each].default is not None:
                    given.arguments[each] = _converted(each, value, options[each].type)
            return function(*given.args, **given.kwargs)

        checked: Callable[..., Any] = call

        def run(**given: Any) -> None:
            as_json = given.pop("as_json", False)
            result: Any = checked(**given)
            if as_json:
                click.echo(json.dumps(result.as_json(), indent=2))
            else:
                echo_parts(result.text(), result.parts())
                for line in hints(result, given):
                    click.echo(line, err=True)
            if code := exit_code(result):
                click.get_current_context().exit(code)

        parameters = [
            option.parameter(each, signature.parameters[each]) for each, option in options.items()
        ]
        parameters += [_JSON] if has_json else []
        title = name or function.__name__
        _commands[call] = cls(title, callback=run, params=parameters, help=text)
        call.__doc__ = _documented(text.replace("\b\n", ""), options, raises)
        call.__signature__ = _plain(signature)  # type: ignore[attr-defined]
        # Documentation tools would show the function behind it instead.
        del call.__wrapped__
        _declared[call] = function
        return call

    return decorate


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """The signature without `Annotated`, for readers."""
    plain = [
        each.replace(annotation=each.annotation.__origin__)
        if get_origin(each.annotation) is Annotated
        else each
        for each in signature.parameters.values()
    ]
    return signature.replace(parameters=plain)


def _documented(text: str, options: Mapping[str, Option], raises: str) -> str:
    """The docstring with the help of each option as its part `Args:`."""
    lines = []
    for name, option in options.items():
        none = f" None: {option.shown_default}." if option.shown_default else ""
        entry = f"{name}: {option.help}{none}"
        lines.append(textwrap.fill(entry, 96, initial_indent="    ", subsequent_indent=" " * 8))
    parts = [text.rstrip(), "Args:\n" + "\n".join(lines)]
    return "\n\n".join([*parts, f"Raises:\n{raises}"] if raises else parts)


def _converted(name: str, value: Any, kind: "click.ParamType[Any]") -> Any:
    try:
        converted = kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from None
    except TypeError:
        raise ValueError(_mistyped(name, value, kind)) from None
    # click turns 2.5 into the integer 2, and 5 into the text "5".
    if isinstance(value, int | float) and converted != value:
        raise ValueError(_mistyped(name, value, kind))
    return converted


def _mistyped(name: str, value: Any, kind: "click.ParamType[Any]") -> str:
    return f"{name}: expected {kind.name}, found {value!r} of type {type(value).__name__}"


class Command(click.Command):
    """A click command that reports errors in one line."""

    min_memory = MIN_MEMORY_BYTES

    def invoke(self, ctx: click.Context) -> Any:
        with reporting_errors(self.min_memory):
            return super().invoke(ctx)


class TrainingCommand(Command):
    """A command that loads TensorFlow and needs more memory."""

    min_memory = MIN_TRAINING_MEMORY_BYTES


class Group(click.Group):
    """A click group that reports errors in one line and lists commands in definition order.

    Args:
        lazy: commands that are imported when they are used: the module, whose command is named
            `main`, and the line in the list of commands.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy or {}

    def invoke(self, ctx: click.Context) -> Any:
        with reporting_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            command: click.Command = import_module(self._lazy[cmd_name][0]).main
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {name: command.get_short_help_str(60) for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(
                [*shown.items(), *((n, line) for n, (_, line) in self._lazy.items())]
            )
