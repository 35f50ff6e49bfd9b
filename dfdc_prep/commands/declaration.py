"""One declaration a command: a typed function becomes the click command and the checked function.

A parameter is annotated with `Annotated[type, click type]`, or an `Option` in its place; bool needs
none. Keyword-only parameters are options of the command, the others are its arguments. Defaults are
those of the signature. The docstring is the help, its part `Args:` that of each option; there
`None: X.` at the end says what None stands for. An option that commands share has its help in its
`Option`. Several of them are the keys of a TypedDict, `Annotated[type, click type, default]`, where
a function takes `**options: Unpack[TheTypedDict]`.

This module and what it imports must stay light: `dfdc-prep --help` waits for it.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

import click

from dfdc_prep.commands.terminal import MIN_TRAINING_MEMORY_BYTES, echo_parts, reporting_errors
from manifests.wording import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Given = Mapping[str, Any]

_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print the same numbers as JSON.")


class _Choice(click.Choice):  # type: ignore[type-arg]  # click 8.1 has no Choice[...]
    """A choice whose message on another value names those that are like it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            if not (meant := did_you_mean(str(value), map(str, self.choices))):
                raise
            message = f"{error.message} {meant[0].upper()}{meant[1:]}"
            raise click.BadParameter(message, ctx, param) from None


class _Integer(click.IntRange):
    """A range whose message on text says integer; click's says "a valid integer range"."""

    name = "integer"


@dataclass(frozen=True)
class Option:
    """The type and the help of an option or argument."""

    type: "click.ParamType[Any]"
    help: str = ""
    none: str | None = None  # what None, the default, stands for
    metavar: str | None = None
    multiple: bool = False
    nargs: int = 1  # for arguments: -1 for any number
    presets: Mapping[str, Any] = field(default_factory=dict)  # what stands for None, by preset

    def __post_init__(self) -> None:
        kind = self.type
        if isinstance(kind, click.Choice):
            object.__setattr__(self, "type", _Choice(kind.choices))
        elif type(kind) is click.IntRange:
            object.__setattr__(self, "type", _Integer(kind.min, kind.max))

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

    def converted(self, name: str, value: Any) -> Any:
        """A value of the parameter of this name, or a tuple of them, as the command has it.

        Raises:
            ValueError: the command would refuse it.
        """
        if not self.multiple and self.nargs == 1:
            return _converted(name, value, self.type)
        is_one = isinstance(value, str) or not isinstance(value, Iterable)
        return tuple(_converted(name, each, self.type) for each in ([value] if is_one else value))

    def parameter(self, name: str, signature: inspect.Parameter) -> click.Parameter:
        """The option or the argument of the command."""
        required = signature.default is signature.empty
        given: dict[str, Any] = {"type": self.type, "metavar": self.metavar}
        if not required and self.nargs == 1 and not self.multiple:
            given["default"] = signature.default
        if signature.kind is not signature.KEYWORD_ONLY:
            return click.Argument([name], nargs=self.nargs, required=required, **given)
        # A parameter cannot be named `as`, but `as_`.
        flag = f"--{name.rstrip('_').replace('_', '-')}"
        if self.type is click.BOOL:
            flag = f"{flag}/--no-{flag[2:]}" if signature.default else flag
            return click.Option([flag], is_flag=True, default=signature.default, help=self.help)
        shown = self.shown_default or True
        return click.Option(
            [flag, name], help=self.help, multiple=self.multiple, show_default=shown, **given
        )


#: The command of each declared function, and its options and arguments by name.
_declared: dict[Callable[..., Any], tuple[click.Command, dict[str, Option]]] = {}


def flag(text: str) -> Option:
    """An option that is on or off."""
    return Option(click.BOOL, text)


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The options and arguments that a declared function has, by name."""
    return _declared[function][1]


def command_of(function: Callable[..., Any]) -> click.Command:
    """The command of a declared function."""
    return _declared[function][0]


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
        signature = _expanded(inspect.signature(function))
        doc, _, raises = inspect.cleandoc(function.__doc__ or "").partition("\nRaises:\n")
        text, _, arguments = doc.partition("\nArgs:\n")
        entries = _entries(arguments)
        options = {
            name: _option(each.annotation, *entries.get(name, ("", None)))
            for name, each in signature.parameters.items()
        }

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            for each, value in given.arguments.items():
                if value is not None or signature.parameters[each].default is not None:
                    given.arguments[each] = options[each].converted(each, value)
            return function(*given.args, **given.kwargs)

        checked: Callable[..., Any] = call

        def run(**given: Any) -> None:
            as_json = given.pop("as_json", False)
            result: Any = checked(**given)
            if as_json:
                click.echo(json.dumps(result.as_json(), indent=2))
            elif hasattr(result, "parts"):  # the others print for themselves
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
        settings = {"help_option_names": ["-h", "--help"]}
        made = cls(title, callback=run, params=parameters, help=text, context_settings=settings)
        _declared[call] = made, options
        call.__doc__ = _documented(text.replace("\b\n", ""), options, raises)
        call.__signature__ = _plain(signature)  # type: ignore[attr-defined]
        # Documentation tools would show the function behind it instead.
        del call.__wrapped__
        return call

    return decorate


def _expanded(signature: inspect.Signature) -> inspect.Signature:
    """The signature with the keys of a TypedDict in place of `**options: Unpack[TypedDict]`."""
    parameters = []
    for each in signature.parameters.values():
        if each.kind is not each.VAR_KEYWORD:
            parameters.append(each)
            continue
        (keys,) = get_args(each.annotation)
        for name, declared in get_type_hints(keys, include_extras=True).items():
            default = declared.__metadata__[1]
            parameters.append(
                inspect.Parameter(name, each.KEYWORD_ONLY, default=default, annotation=declared)
            )
    return signature.replace(parameters=parameters)


def _entries(arguments: str) -> dict[str, tuple[str, str | None]]:
    """What the part `Args:` of a docstring says: {name: (help, what None stands for)}."""
    found: dict[str, tuple[str, str | None]] = {}
    for entry in re.split(r"^    (?=\w)", arguments, flags=re.MULTILINE)[1:]:
        name, _, text = " ".join(entry.split()).partition(": ")
        text, _, none = text.partition(" None: ")
        found[name] = text, none.removesuffix(".") or None
    return found


def _option(annotation: Any, text: str, none: str | None) -> Option:
    """The option of an annotation, with the help of the docstring unless it has its own."""
    declared = click.BOOL if annotation is bool else annotation.__metadata__[0]
    option = declared if isinstance(declared, Option) else Option(declared)
    return option if option.help else replace(option, help=text, none=none)


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """The signature without `Annotated`, for readers."""
    plain = [
        each.replace(annotation=getattr(each.annotation, "__origin__", each.annotation))
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
    mistyped = f"{name}: expected {kind.name}, found {value!r} of type {type(value).__name__}"
    try:
        converted = kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from None
    except TypeError:
        raise ValueError(mistyped) from None
    # click turns 2.5 into the integer 2, and 5 into the text "5".
    if isinstance(value, int | float) and converted != value:
        raise ValueError(mistyped)
    return converted


class TrainingCommand(click.Command):
    """A command that loads TensorFlow; it reports errors in one line, as a group does."""

    def invoke(self, ctx: click.Context) -> Any:
        with reporting_errors(MIN_TRAINING_MEMORY_BYTES):
            return super().invoke(ctx)


class Group(click.Group):
    """A click group that reports errors in one line.

    Args:
        sections: the names of the commands in the order of the help, by title.
        lazy: commands that are imported when they are used: the module, whose command is named
            `main`, and the line in the list of commands.
    """

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Sequence[str]],
        lazy: Mapping[str, tuple[str, str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sections, self._lazy = sections, lazy or {}

    def invoke(self, ctx: click.Context) -> Any:
        with reporting_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in self._sections.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            command: click.Command = import_module(self._lazy[cmd_name][0]).main
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {name: command.get_short_help_str(1000) for name, command in self.commands.items()}
        shown |= {name: line for name, (_, line) in self._lazy.items()}
        for title, names in self._sections.items():
            with formatter.section(title):
                # The widest name of all sections, so that the summaries line up.
                formatter.write_dl([(f"{name:<8}", shown[name]) for name in names])
