"""MkDocs hook: make the commands' help texts valid Markdown before mkdocs-click renders them."""

import inspect
import re
from importlib import import_module
from typing import Any

import click

MODULES = ("cli", "training.fit", "training.evaluate", "training.compare", "training.predict")

#: A paragraph that click must not wrap: "\b", a line that ends in a colon, indented lines.
VERBATIM = re.compile(r"\x08\n(?P<title>[^\n]+):\n(?P<lines>(?:[ ]+[^\n]+\n?)+)")


def on_config(config: Any) -> Any:
    """Rewrite the help of every command; mkdocs-click imports the same objects later."""
    for module in MODULES:
        _rewrite(import_module(module).main)
    return config


def _rewrite(command: click.Command) -> None:
    command.help = VERBATIM.sub(_code_block, inspect.cleandoc(command.help or ""))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _rewrite(child)


def _code_block(match: re.Match[str]) -> str:
    lines = "\n".join(f"    {line.strip()}" for line in match["lines"].splitlines())
    return f"**{match['title']}:**\n\n{lines}\n"
