"""The commands as they are typed, for tests of their help and of the documentation."""

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
