"""Messages: numbers agree with their nouns, and unknown names are answered by those like them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from manifests.arrow import MANIFEST_SCHEMA
from manifests.folders import path_meant
from manifests.wording import aligned, columns_found, counted, did_you_mean
from tests.crop_sets import make_faces

ROOT = Path(__file__).resolve().parents[2]
NOUNS = (
    "clips|crops|families|images|faces|frames|rows|records|originals|fakes|pairs|pictures|splits|"
    "parts|groups|shards|files|columns|identities|epochs|faults|data sets|values|processes|cores"
)
#: A number, or the value of an expression, before the plural of a noun, or a plural in brackets.
PLURAL = re.compile(rf" (?!of |and |or |in )(?:[A-Za-z-]+ )?(?:{NOUNS})\b")
#: Expressions before such a noun that are words or constants, and no number that may be 1.
WORDS = re.compile(
    r"label|.*\b(split|label|limiting_label|title)|smaller|smallest\[1\]|self.larger|last|k|said(.text)?|video\[row\]|_?[A-Z_]+"
)


def test_numbers_before_nouns_are_counted() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {{{text}}}{noun}"
        for folder in ("dfdc_prep", "manifests", "training")
        for path in (ROOT / folder).rglob("*.py")
        for line, text, noun in _numbered(ast.parse(path.read_text()))
    ]
    assert not found


def _numbered(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """The expressions in f-strings before the plural of a noun, and plurals in brackets."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and (brackets := re.search(r"\w\((?:s|es|ies)\)", text)):
            yield node.lineno, "", brackets[0]
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                text, noun = ast.unparse(value.value), PLURAL.match(str(after.value))
                if noun and not WORDS.fullmatch(text):
                    yield node.lineno, text, noun[0]


@given(st.integers(2, 10**9), st.sampled_from(["clip", "family", "worker process", "FAKE crop"]))
def test_one_thing_is_singular(number: int, noun: str) -> None:
    assert counted(1, noun) == f"1 {noun}"
    assert re.fullmatch(
        r"[\d,]+ .*(clips|families|worker processes|FAKE crops)", counted(number, noun)
    )


def test_tables_line_up() -> None:
    assert aligned(("split", "crops", "of"), [("train", 1200, "a"), ("test", None, "bc")]) == [
        "split  crops  of",
        "train  1,200  a",
        "test          bc",
    ]


def test_no_message_lists_all_columns() -> None:
    assert columns_found(MANIFEST_SCHEMA.names, "labl") == "52 columns, such as label"
    assert columns_found(MANIFEST_SCHEMA.names, "split") == "52 columns, such as official_split"
    assert columns_found(MANIFEST_SCHEMA.names, "zebra") == "52 columns, none like it"
    assert columns_found(["a", "b"], "c") == "a, b"
    assert columns_found([], "c") == "no columns"


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_only_known_names_are_proposed(name: str, known: list[str]) -> None:
    meant = did_you_mean(name, known)
    assert not meant or any(each in meant for each in known)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("blance", "Did you mean 'balance'?"),
        ("export webdatset", "Did you mean 'webdataset'?"),
        ("balance --stratgy pairs", "Did you mean '--strategy'?"),
        ("balance --strategy pair", "Did you mean pairs?"),
        ("extract --detector yunett", "Did you mean yunet?"),
        ("extract --layout celebdf", "Did you mean celeb-df?"),
        ("fit shards --backbone EfficientNetB8", "Did you mean EfficientNetB7"),
        ("fit shards --recipe v1.33", "Did you mean v1.3"),
        ("extract --frames abc", "'abc' is not a valid integer."),
        ("shard --shards many", "expected auto or a number from 1 to 9999, found 'many'."),
        ("summary facs", "did you mean faces?"),
        ("balance face/manifest.parqet", "did you mean faces?"),
        ("audit faces/balanced.parqet", "did you mean faces/balanced.parquet?"),
        ("verify face", "did you mean faces?"),
        ("report face", "did you mean faces?"),
        ("extract fces", "did you mean faces?"),
        ("split faces/balanced.parquet --group-by famly", "did you mean family?"),
        ("split faces/balanced.parquet --group-by zebra", "columns, none like it"),
        ("audit faces/balanced.parquet", "columns, such as official_split; run dfdc-prep split"),
        ("summary labels.csv", "'fak' in 1 row; did you mean FAKE?"),
        ("summary columns.csv", "found no label, but videoname, labl; rename"),
    ],
)
def test_misspelt_names_are_answered(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_faces(tmp_path / "faces", families=1)
    Path("labels.csv").write_text("videoname,label\na,fak\n")
    Path("columns.csv").write_text("videoname,labl\na,FAKE\n")
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code in (1, 2)
    last = done.output.splitlines()[-1]
    assert said in last
    assert len(last) < 400


def test_a_path_that_is_there_is_not_corrected(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    assert path_meant(tmp_path / "faces") == ""
    assert path_meant(tmp_path / "else") == ""
    (tmp_path / "faces" / "clips.parquet").touch()  # like split.parquet, which was not made yet
    assert path_meant(tmp_path / "faces" / "split.parquet") == ""
    assert path_meant(tmp_path / "faes" / "x.csv") == f"did you mean {tmp_path / 'faces'}?"
