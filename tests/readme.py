"""The part of README.md that the code writes: a table of commands and the help of each."""

from importlib import import_module
from pathlib import Path

import click

from cli import main

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- commands: written by scripts/readme -->"
END = "<!-- end of commands -->"
#: What is run as `python -m`, beside the commands of `dfdc-prep`.
MODULES = ("training.fit", "training.evaluate", "training.predict")


def commands() -> dict[str, click.Context]:
    """Every command as it is typed, with the context that prints its help."""
    parent = click.Context(main, info_name="dfdc-prep", terminal_width=96, **main.context_settings)
    found = {
        f"dfdc-prep {name}": click.Context(command, parent=parent, info_name=name)
        for name, command in main.commands.items()
    }
    for module in MODULES:
        command, typed = import_module(module).main, f"python -m {module}"
        settings = command.context_settings
        found[typed] = click.Context(command, info_name=typed, terminal_width=96, **settings)
    return found


def render(readme: str) -> str:
    """README.md with its part on the commands written anew."""
    head, rest = readme.split(BEGIN)
    tail = rest.split(END)[1]
    found = commands()
    rows = [f"| `{typed}` | {_first_sentence(context)} |" for typed, context in found.items()]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    helps = "\n\n".join(
        f"### {typed}\n\n```text\n{context.get_help().rstrip()}\n```"
        for typed, context in found.items()
    )
    return f"{head}{BEGIN}\n{table}\n\n{helps}\n{END}{tail}"


def _first_sentence(context: click.Context) -> str:
    return context.command.get_short_help_str(limit=200)


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
