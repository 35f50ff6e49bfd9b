"""README.md of a Hugging Face data set: the YAML that `load_dataset` reads, and a short text."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from manifests.labels import LABELS

CARD = "README.md"


class SplitSize(NamedTuple):
    """A split, its crops, and the bytes of its files."""

    split: str
    crops: int
    size: int


def dataset_card(
    features: Mapping[str, str], sizes: Sequence[SplitSize], datasets: Sequence[str]
) -> str:
    """The text of README.md.

    Args:
        features: for each column, `image`, `label`, or the name of its type.
        sizes: the splits, whose names are checked, in output order.
        datasets: names of the data sets that the crops are from, where they are known.
    """
    total = sum(each.size for each in sizes)
    lines = [
        "---",
        "pretty_name: Face crops",
        "license: other",
        "task_categories:",
        "- image-classification",
        "dataset_info:",
        "  features:",
        *(line for name, kind in features.items() for line in _feature(name, kind)),
        "  splits:",
        *(line for each in sizes for line in _split(each)),
        f"  download_size: {total}",
        f"  dataset_size: {total}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(
            line
            for each in sizes
            for line in (f"  - split: {each.split}", f"    path: {each.split}-*.parquet")
        ),
        "---",
        "",
        "# Face crops",
        "",
        "Square face crops, with the label of their clip and the family it belongs to. "
        "metadata.json says how they were split.",
        *_origin(datasets),
        "",
        "| split | crops |",
        "|---|---|",
        *(f"| {each.split} | {each.crops:,} |" for each in sizes),
    ]
    return "\n".join(lines) + "\n"


def _origin(datasets: Sequence[str]) -> list[str]:
    """The sentence that names the data sets; their names are text from elsewhere."""
    names = (" ".join(name.replace("`", " ").split()) for name in datasets)
    return ["", f"Data sets: {', '.join(f'`{name}`' for name in names)}."] if datasets else []


def _feature(name: str, kind: str) -> list[str]:
    if kind != "label":
        return [f"  - name: {name}", f"    dtype: {kind}"]
    names = (f"          '{index}': {label}" for index, label in enumerate(LABELS))
    return [f"  - name: {name}", "    dtype:", "      class_label:", "        names:", *names]


def _split(each: SplitSize) -> list[str]:
    return [
        f"  - name: {each.split}",
        f"    num_bytes: {each.size}",
        f"    num_examples: {each.crops}",
    ]
