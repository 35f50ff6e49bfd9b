"""The README and the documentation cover every command, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.readme import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REPOSITORY_PATH = re.compile(
    r"`((?:dfdc_prep|manifests|training|tests|scripts|docs|benchmarks)/[\w./-]*)"
)
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


def test_the_page_of_commands_names_each_of_them() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    named = re.findall(r"^\| `(dfdc-prep [^`]+)` \|", page, re.MULTILINE)
    assert named == list(commands())


def test_the_readme_is_short_and_says_how_to_begin() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 1000
    assert all(f"dfdc-prep {name} " in readme for name in ("extract", "balance", "shard"))


@pytest.mark.parametrize("typed", commands())
def test_every_help_has_an_example(typed: str) -> None:
    _, _, example = commands()[typed].get_help().partition("Example:\n")
    assert re.match(rf" +{re.escape(typed)}\s", example)


def test_the_command_reference_is_that_of_the_group() -> None:
    assert ":module: cli\n" in (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_of_the_repository_exist(page: Path) -> None:
    for path in REPOSITORY_PATH.findall(page.read_text()):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
