"""What the metadata of a data set say of how it came about: read off the crops, or told in a file.

The fields are those of Croissant's vocabulary for responsible AI, version 1.0, in its spelling:
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html. A field of which nothing is known
is left out.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.files import parse_json
from manifests.labels import FAKE
from manifests.splitting.groups import Joins
from manifests.splitting.sets import given_splits
from manifests.tables.codes import dataset_column
from manifests.wording import counted, did_you_mean, listed

#: The texts given, by field.
Card = Mapping[str, Sequence[str]]

RAI = "http://mlcommons.org/croissant/RAI/1.0"
_NAMES = (
    "dataCollection dataCollectionType dataCollectionMissingData dataCollectionRawData "
    "dataCollectionTimeframe dataImputationProtocol dataManipulationProtocol "
    "dataPreprocessingProtocol dataAnnotationProtocol dataAnnotationPlatform "
    "dataAnnotationAnalysis annotationsPerItem annotatorDemographics machineAnnotationTools "
    "dataBiases dataUseCases dataLimitations dataSocialImpact personalSensitiveInformation "
    "dataReleaseMaintenancePlan"
)
_FIELDS = _NAMES.split()
#: Fields that hold one text; `mlcroissant` takes the last for one of them too.
_ONE = {
    *("dataCollection", "dataCollectionMissingData", "dataCollectionRawData"),
    *("dataImputationProtocol", "dataManipulationProtocol", "dataAnnotationProtocol"),
    *("annotationsPerItem", "dataSocialImpact", "dataReleaseMaintenancePlan"),
}
#: Fields that `rai_fields` fills by itself.
_READ = {
    *("dataCollection", "dataCollectionType", "dataManipulationProtocol", "dataBiases"),
    *("dataPreprocessingProtocol", "dataAnnotationProtocol", "machineAnnotationTools"),
    *("dataUseCases", "dataLimitations", "personalSensitiveInformation"),
}
#: Fields of schema.org and of Croissant itself; those that hold dates.
_ABOUT = ("license", "citeAs", "creator", "url", "datePublished")
_DATES = ("dataCollectionTimeframe", "datePublished")
_TERMS = "The terms of the clips that the crops were cut from."
_DFDC_TERMS = "DFDC's own terms, https://www.kaggle.com/c/deepfake-detection-challenge/data, apply."


def read_card(path: Path) -> dict[str, list[str]]:
    """Read the fields of a card: JSON, or TOML if the name ends in .toml; a text, or a list.

    Raises:
        TableError: it cannot be read, or has another field or value.
    """
    try:
        data = path.read_bytes()
        found = tomllib.loads(data.decode()) if path.suffix == ".toml" else parse_json(data)
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"expected JSON or TOML in {path}, found none ({error})") from error
    if not isinstance(found, dict):
        raise TableError(f'expected fields in {path}, as in {{"dataSocialImpact": "..."}}')
    card = {}
    for name, value in found.items():
        if name not in (known := (*_FIELDS, *_ABOUT)):
            meant = did_you_mean(name, known) or f"they are {', '.join(known)}"
            raise TableError(f"expected fields of a card in {path}, found {name!r}; {meant}")
        values = value if isinstance(value, list) else [value]
        texts = [each.isoformat() if isinstance(each, date) else each for each in values]
        if not texts or not all(isinstance(each, str) and each.strip() for each in texts):
            raise TableError(
                f"expected text or a list of texts as {name} in {path}, found {value!r}; "
                "leave out what is not known"
            )
        try:
            for each in texts if name in _DATES else ():
                datetime.fromisoformat(each)
        except ValueError as error:
            raise TableError(f"expected dates as {name} in {path}: {error}") from error
        card[name] = texts
    return card


def unsaid(card: Card, file: str) -> str:
    """The line that says how many fields a file leaves out, empty if none."""
    missing = [name for name in _FIELDS if name not in _READ and name not in card]
    fields = counted(len(missing), "field")
    return f"{file} leaves out {fields} that --card gives: {listed(missing, 2)}" if missing else ""


def quoted(names: Iterable[str]) -> str:
    """Names from elsewhere, which may hold any text, as code in Markdown."""
    return ", ".join(f"`{' '.join(name.replace('`', ' ').split())}`" for name in names)


def licence(datasets: Iterable[str], card: Card) -> list[str]:
    """What is given, or else whose terms apply."""
    return list(card.get("license", [_TERMS, _DFDC_TERMS] if "dfdc" in datasets else [_TERMS]))


def about_fields(card: Card) -> dict[str, Any]:
    """The fields of schema.org that only a card gives, in JSON-LD."""
    found: dict[str, Any] = {
        name: " ".join(card[name]) for name in ("url", "datePublished") if name in card
    }
    if "creator" in card:
        found["creator"] = [{"@type": "sc:Person", "name": name} for name in card["creator"]]
    return found


def rai_fields(
    manifest: pa.Table, metadata: Mapping[str, Any], card: Card
) -> dict[str, str | list[str]]:
    """The fields of which anything is known, first what the crops show, then what is given.

    Args:
        manifest: the rows of the crops, with their split.
        metadata: the content of metadata.json.
    """
    read, fields = _read(manifest, metadata), dict[str, str | list[str]]()
    for name in _FIELDS:
        if texts := [*read.get(name, ()), *card.get(name, ())]:
            fields[name] = " ".join(texts) if name in _ONE else texts
    return fields


def _read(manifest: pa.Table, metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    splits = given_splits(manifest)
    lines = splits.text.splitlines()
    counts, leaks = lines[: len(splits.order)], lines[len(splits.order) :]
    detectors = [f"detector {name}" for name in _values(manifest["detector"])]
    fakes = manifest.filter(pc.equal(manifest["label"], FAKE))
    methods = sorted(Counter(method or "" for method in fakes["method"].to_pylist()).items())
    named = [f"{n:,} {quoted([name]) if name else 'of a method not named'}" for name, n in methods]
    people = _values(manifest["identity"])
    pictures = Joins(**metadata["pictures"]).lines() if "pictures" in metadata else []
    by_face = metadata.get("label_by") == "face"
    sets = quoted(_values(dataset_column(manifest)))
    return {
        "dataCollection": [
            f"{counted(manifest.num_rows, 'face crop')}, cut from existing clips of "
            f"{sets or 'a data set that the table does not name'}; faces found by "
            f"{', '.join(detectors) or 'a detector that is not recorded'}."
        ],
        "dataCollectionType": ["Secondary Data analysis"],
        "dataManipulationProtocol": [f"FAKE crops by method: {', '.join(named) or 'none'}."],
        "dataPreprocessingProtocol": list(_steps(manifest, metadata)),
        "dataAnnotationProtocol": [
            "Each crop has the label that the data set gives to its clip, REAL or FAKE"
            + (", but REAL where a face of a fake was not changed." if by_face else ".")
        ],
        "machineAnnotationTools": [*detectors, str(metadata["tool"])],
        "dataBiases": [
            f"Crops by split and label: {'; '.join(counts)}.",
            "Age, gender, skin tone, light and device are not recorded.",
        ],
        "dataUseCases": [
            "Training, validation and testing of classifiers of faces as REAL or FAKE.",
            "Not for recognising people, and not as proof about a person.",
        ],
        "dataLimitations": [
            *leaks,
            *pictures,
            "What is measured on these crops holds for crops cut the same way from the same kind "
            "of clips.",
        ],
        "personalSensitiveInformation": [
            "The crops show faces of people, by which they can be recognised.",
            *(["The column identity says which crops show one person."] * bool(people)),
        ],
    }


def _values(column: pa.ChunkedArray) -> list[str]:
    return sorted(pc.unique(column.drop_null()).to_pylist())


def _steps(manifest: pa.Table, metadata: Mapping[str, Any]) -> Iterator[str]:
    """How the crops were cut, stored and split."""
    margins = pc.min_max(manifest["margin"]).as_py()
    cut = "margin not recorded"
    if margins["min"] is not None:
        ends = dict.fromkeys(f"{margins[end]:g}" for end in ("min", "max"))
        cut = f"margin {' to '.join(ends)} of the box or template on each side"
    align = ", ".join(_values(manifest["align"])) or "not recorded"
    yield f"Square crops of the detected faces: {cut}; alignment {align}."
    kept = metadata.get("image_format") == "as-is"
    quality = metadata.get("quality")
    yield "Images stored as cut." if kept else f"PNG encoded again as JPEG of quality {quality}."
    shares = metadata["split"]
    if isinstance(shares, dict):
        shares = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    yield f"Splits: {shares}; grouped by {metadata['group_by']}, seed {metadata['seed']}."


def sections(fields: Mapping[str, str | list[str]]) -> str:
    """The fields in Markdown, a heading each."""
    parts = []
    for name, value in fields.items():
        title = re.sub("(?=[A-Z])", " ", name).capitalize()
        texts = value if isinstance(value, str) else "\n".join(f"- {each}" for each in value)
        parts.append(f"## {title}\n\n{texts}\n")
    return "\n".join(parts)
