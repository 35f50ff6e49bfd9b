"""README.md says of the commands what the code says."""

from tests.readme import BEGIN, END, README, commands, render


def test_the_commands_in_the_readme_are_those_of_the_code() -> None:
    text = README.read_text()
    assert render(text) == text, "README.md is stale; run scripts/readme"


def test_every_command_stands_in_the_readme() -> None:
    part = README.read_text().split(BEGIN)[1].split(END)[0]
    for typed in commands():
        assert f"| `{typed}` |" in part
        assert f"### {typed}\n" in part
