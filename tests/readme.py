"""The commands as they are typed, for tests of their help and of the documentation."""

import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from cli import main


def commands() -> dict[str, click.Context]:
    """Map every command as it is typed to the context that prints its help."""
    parent = click.Context(main, info_name="dfdc-prep", terminal_width=96, **main.context_settings)
    return _commands_of(main, parent, "dfdc-prep")


def _commands_of(group: click.Group, parent: click.Context, typed: str) -> dict[str, click.Context]:
    found: dict[str, click.Context] = {}
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent=parent, info_name=name)
        if isinstance(command, click.Group):
            found |= _commands_of(command, context, f"{typed} {name}")
        else:
            found[f"{typed} {name}"] = context
    return found


_COMMAND = re.compile(r"(?:\$ |!)?((?:dfdc-prep|python -m) .+)")


def command_lines(page: Path) -> list[str]:
    """The commands of dfdc-prep and of `python -m` in the blocks of a page, without comments.

    A page is Markdown, a notebook, a shell script or YAML.
    """
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        lines = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    elif page.suffix == ".md":
        lines = list(_blocks(text))
    else:
        text = re.sub(r"\$\(\(.*?\)\)", "1", text)  # the shell's arithmetic
        lines = [re.sub(r"^.*?(?=dfdc-prep )", "", line) for line in _joined(text)]
    found = (_COMMAND.fullmatch(line.strip()) for part in lines for line in _joined(part))
    return [shlex.join(shlex.split(match[1], comments=True)) for match in found if match]


def _joined(text: str) -> list[str]:
    """The lines, those that end in a backslash with the next."""
    return re.sub(r"\\\n\s*", "", text).splitlines()


def _blocks(text: str) -> Iterator[str]:
    """The indented lines of Markdown, and those between fences."""
    fenced = False
    for line in _joined(text):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line


def parse(line: str) -> None:
    """Parse a command as it is typed; raise click.UsageError if it is no command.

    Of `python -m` only the module is looked for.
    """
    name, *words = shlex.split(line)
    if name == "python":
        assert find_spec(words[1]), f"there is no module {words[1]}"
        return
    command: click.Command | None = main
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), name := words.pop(0))
    assert command is not None, f"there is no command {name}"
    command.make_context(name, words)
