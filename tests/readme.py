"""The commands as they are typed, for tests of their help and of the documentation."""

from importlib import import_module

import click

from cli import main

#: Commands run as `python -m`, beside those of `dfdc-prep`.
MODULES = ("training.fit", "training.evaluate", "training.predict", "training.app")


def commands() -> dict[str, click.Context]:
    """Map every command as it is typed to the context that prints its help."""
    parent = click.Context(main, info_name="dfdc-prep", terminal_width=96, **main.context_settings)
    found = _commands_of(main, parent, "dfdc-prep")
    for module in MODULES:
        command, typed = import_module(module).main, f"python -m {module}"
        settings = command.context_settings
        found[typed] = click.Context(command, info_name=typed, terminal_width=96, **settings)
    return found


def _commands_of(group: click.Group, parent: click.Context, typed: str) -> dict[str, click.Context]:
    found: dict[str, click.Context] = {}
    for name, command in group.commands.items():
        context = click.Context(command, parent=parent, info_name=name)
        if isinstance(command, click.Group):
            found |= _commands_of(command, context, f"{typed} {name}")
        else:
            found[f"{typed} {name}"] = context
    return found
