"""The Python API: the commands' options, files and output, and results for notebooks."""

import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.commands.declaration import options_of
from dfdc_prep.crops.encoding import FORMATS
from dfdc_prep.crops.placement import ALIGNMENTS
from dfdc_prep.errors import NotEnoughRows, TableError
from dfdc_prep.extraction.clip import ALL, LARGEST, CropOptions
from dfdc_prep.writing.sources import ALL as EVERY_CROP
from dfdc_prep.writing.sources import BALANCED, SPLIT
from dfdc_prep.writing.verify import Fault, VerifyReport
from manifests.balancing.balance import Strategy
from manifests.result import MOST_ROWS, Result
from manifests.tables.sources import CLIP, FACE
from tests.bare_tables import write
from tests.crop_sets import make_faces

#: Each function and its command.
FUNCTIONS = {
    "extract": "extract",
    "gather": "gather",
    "identify": "identify",
    "import_crops": "import",
    "balance": "balance",
    "split": "split",
    "shard": "shard",
    "export_deepfakebench": "export deepfakebench",
    "export_huggingface": "export huggingface",
    "export_webdataset": "export webdataset",
    "make_recipe": "recipe",
    "rebuild": "rebuild",
    "audit": "audit",
    "verify": "verify",
    "report": "report",
    "summarize": "summary",
}
#: Options that choose how a command prints.
PRINTING = {"as_json", "help"}


def printed(*words: object) -> str:
    """What a command prints to stdout."""
    return CliRunner().invoke(main, [str(word) for word in words]).stdout


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A faces folder with crops, a manifest and a balanced manifest."""
    folder = make_faces(tmp_path / "faces", families=10, fakes=1)
    (folder / "manifest.parquet").write_bytes((folder / "balanced.parquet").read_bytes())
    return folder


def test_import_is_fast_and_loads_no_numpy_and_no_pyarrow() -> None:
    code = (
        "import sys, time\nbefore = time.perf_counter()\nimport dfdc_prep\n"
        "print(time.perf_counter() - before)\n"
        "dir(dfdc_prep)\n"
        "print([name for name in ('numpy', 'pyarrow', 'click') if name in sys.modules])\n"
        "dfdc_prep.extract\n"
        "print([name for name in ('numpy', 'pyarrow') if name in sys.modules])\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    outputs = [run.stdout.splitlines() for run in runs]
    assert all(lines[1:] == ["[]", "[]"] for lines in outputs)
    assert min(float(lines[0]) for lines in outputs) < 0.05


def test_a_local_command_loads_no_library_of_a_bucket(tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", families=4)
    code = (
        "import sys, dfdc_prep\n"
        f"dfdc_prep.split({str(folder)!r})\n"
        f"dfdc_prep.shard({str(folder)!r}, {str(tmp_path / 'shards')!r})\n"
        "import dfdc_prep.extraction.run, training.runs.folder, training.data.shards\n"
        "print([name for name in ('fsspec', 's3fs', 'botocore') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_names() -> None:
    assert set(dfdc_prep.__all__) == set(FUNCTIONS)
    assert set(FUNCTIONS) < set(dir(dfdc_prep))
    modules = {module.name for module in pkgutil.iter_modules(dfdc_prep.__path__)}
    assert not modules & set(FUNCTIONS)
    with pytest.raises(AttributeError, match="no attribute 'shuffle'"):
        dfdc_prep.shuffle  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_those_of_the_command_and_help_documents_each_option(name: str) -> None:
    command: click.Command = main
    for word in FUNCTIONS[name].split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
    function = getattr(dfdc_prep, name)
    required = [each.name for each in command.params if each.required]
    context = command.make_context(name, [str(each) for each in required])
    parameters = inspect.signature(function).parameters
    assert list(parameters) == [each.name for each in command.params if each.name not in PRINTING]
    for parameter in parameters.values():
        if parameter.name not in required:
            given = context.params[parameter.name]  # converted by click
            assert (str(given) if isinstance(given, Path) else given) == parameter.default
        assert f"\n    {parameter.name}: " in function.__doc__
        assert options_of(function)[parameter.name].help
    assert "\nExample:\n" in function.__doc__


def test_an_option_has_one_declaration() -> None:
    declared = [options_of(getattr(dfdc_prep, name)) for name in FUNCTIONS]
    for name in ("frames", "margin", "seed", "split", "real_is", "clips_from", "label_by"):
        assert len({id(options[name]) for options in declared if name in options}) == 1, name
    assert not [each for each in fields(CropOptions) if each.default is not MISSING]
    sources = [path for folder in ("dfdc_prep", "manifests") for path in Path(folder).rglob("*.py")]
    for help_text in (
        "Frames per clip;",
        "The same seed gives the same bytes.",
        '"deepfakebench": 32',
    ):
        assert sum(path.read_text().count(help_text) for path in sources) == 1, help_text


@pytest.mark.parametrize(
    ("function", "name", "constants"),
    [
        ("extract", "faces", (LARGEST, ALL)),
        ("extract", "format", FORMATS),
        ("extract", "align", ALIGNMENTS),
        ("balance", "label_by", (CLIP, FACE)),
        ("shard", "crops", (BALANCED, EVERY_CROP, SPLIT)),
        ("balance", "strategy", get_args(Strategy)),
    ],
)
def test_choices_are_those_of_the_library(
    function: str, name: str, constants: tuple[str, ...]
) -> None:
    kind = options_of(getattr(dfdc_prep, function))[name].type
    assert isinstance(kind, click.Choice)
    assert tuple(kind.choices) == constants


@pytest.mark.parametrize(
    ("call", "command"),
    [
        (lambda: dfdc_prep.extract(frames=0), ["extract", "--frames", "0"]),
        (lambda: dfdc_prep.extract(detector="dlib"), ["extract", "--detector", "dlib"]),
        (lambda: dfdc_prep.extract(margin=float("nan")), ["extract", "--margin", "nan"]),
        (lambda: dfdc_prep.balance(seed=-1), ["balance", "--seed", "-1"]),
        (lambda: dfdc_prep.balance(out="table.txt"), ["balance", "--out", "table.txt"]),
        (lambda: dfdc_prep.shard(shards=0), ["shard", "--shards", "0"]),
        (lambda: dfdc_prep.shard(shards="many"), ["shard", "--shards", "many"]),
        (lambda: dfdc_prep.verify(""), ["verify", ""]),
        (lambda: dfdc_prep.verify("a\0b"), ["verify", "a\0b"]),
    ],
)
def test_values_that_are_not_allowed(call: Callable[[], object], command: list[str]) -> None:
    with pytest.raises(ValueError, match=": ") as caught:
        call()
    message = str(caught.value).split(": ", 1)[1]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert message.replace("'", "") in done.stderr.replace("'", "")


@pytest.mark.parametrize("value", [None, 7, ["faces"]])
def test_values_of_another_type(value: Any) -> None:
    with pytest.raises(ValueError, match="faces: expected "):
        dfdc_prep.summarize(value)
    with pytest.raises(ValueError, match="faces: expected a faces folder, found none"):
        dfdc_prep.shard([], "shards")
    with pytest.raises(ValueError, match="frames: expected whole numbers of frames"):
        dfdc_prep.extract(frames={"real": 2.5, "fake": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="same: expected two names of clips"):
        dfdc_prep.identify(same=[("a", 3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="frames: expected integer"):
        dfdc_prep.extract(frames=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        dfdc_prep.summarize(folder="faces")  # type: ignore[call-arg]


def test_errors_are_those_of_the_library(tmp_path: Path) -> None:
    table = write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\n")
    with pytest.raises(NotEnoughRows, match="give --per-class 1"):
        dfdc_prep.balance(table, per_class=2, out=tmp_path / "balanced.csv")
    with pytest.raises(TableError, match="as in 56/24/20"):
        dfdc_prep.split(table, split="a")


def test_results_print_as_the_commands(faces: Path, tmp_path: Path) -> None:
    shards, again = tmp_path / "shards", tmp_path / "again"
    steps: list[tuple[Callable[[], Result], list[object]]] = [
        (lambda: dfdc_prep.summarize(str(faces)), ["summary", faces]),
        (lambda: dfdc_prep.balance(faces, per_class=8), ["balance", faces, "--per-class", 8]),
        (lambda: dfdc_prep.split(faces), ["split", faces]),
        (lambda: dfdc_prep.shard(faces, shards, shards=2), ["shard", faces, again, "--shards", 2]),
        (
            lambda: dfdc_prep.export_webdataset([faces], shards.with_name("tar")),
            ["export", "webdataset", faces, shards.with_name("tar2")],
        ),
        (lambda: dfdc_prep.audit(shards), ["audit", shards]),
        (lambda: dfdc_prep.verify(shards), ["verify", shards]),
    ]
    for function, words in steps:
        result = function()
        assert f"{result}\n".replace(str(shards), str(again)) == printed(*words).replace(
            str(shards), str(again)
        ).replace("tar2", "tar")
        html = result._repr_html_()
        if isinstance(result, VerifyReport):
            assert html == f"<p>{str(result).splitlines()[0]}</p>"  # no faults, no table
            continue
        assert html.startswith("<table><caption>")
        assert "<thead><tr><th>" in html
        assert html.count("<tr>") == html.count("</tr>") <= MOST_ROWS + 2
    assert (shards / "SHA256SUMS").read_bytes() == (again / "SHA256SUMS").read_bytes()


def test_imported_crops_print_as_the_command(faces: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = sorted((faces / "crops").rglob("*.png"))
    lines = [
        f"{row.relative_to(faces / 'crops')},{('REAL', 'FAKE')[n % 2]}"
        for n, row in enumerate(rows)
    ]
    table.write_text("\n".join(["path,label", *lines, "part/absent/000000_0.png,REAL"]) + "\n")
    result = dfdc_prep.import_crops(faces / "crops", table, tmp_path / "one")
    words = ["import", faces / "crops", table, tmp_path / "two"]
    assert f"{result}\n".replace("one", "two") == printed(*words).replace("one", "two")
    assert result.failed == 1
    assert result.manifest.is_file()
    assert "<td>missing</td><td>1</td>" in result._repr_html_()


def test_html_is_escaped_and_short() -> None:
    faults = tuple(Fault("<script>&", "<b>", n) for n in range(MOST_ROWS + 5))
    result = VerifyReport(Path("a<b"), 1234, 5, faults)
    html = result._repr_html_()
    assert not result.ok
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;&amp;" in html
    assert "and 5 more" in html


def test_extract_prints_as_the_command(real_clips: Path, tmp_path: Path, yunet_model: Path) -> None:
    source = tmp_path / "dfdc" / "part"
    source.mkdir(parents=True)
    (source / "metadata.json").write_text('{"004.mp4": {"label": "REAL"}}')
    (source / "004.mp4").symlink_to(real_clips / "dfdc_train_part_1" / "004.mp4")
    result = dfdc_prep.extract(
        source.parent, tmp_path / "one", workers=1, detector="yunet", detector_model=yunet_model
    )
    words = ["extract", source.parent, tmp_path / "two", "--workers", 1, "--detector", "yunet"]
    said = printed(*words, "--detector-model", yunet_model)
    timeless = [re.sub(r"in [^,]*, \S+ a second", "", text) for text in (f"{result}\n", said)]
    assert timeless[0].replace("/one", "/two") == timeless[1]
    assert result.manifest.is_file()
    assert result.failed == 0
    assert "<td>REAL</td><td>ok</td><td>1</td>" in result._repr_html_()
