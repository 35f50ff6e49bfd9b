"""Does a split that leaks flatter? One network on the paper's random split, and on one by family.

    dfdc-prep import faces_224 metadata.csv faces && dfdc-prep balance faces
    dfdc-prep shard faces random --group-by none
    dfdc-prep shard faces family
    python -m benchmarks.paper_splits random family                     a small network, on a CPU
    python -m benchmarks.paper_splits random family --network v1.3 --weights imagenet --epochs 47

Both folders must hold the same crops. They are decoded once, into memory: 12 kB each at 64 pixels,
150 kB at 224. The two networks of a seed begin with the same weights and train by turns, an epoch
each, so that both have had the same steps whenever --minutes ends it. After each epoch a network
scores its own validation split and the test splits of both. "The last epoch" is what was trained,
"the best" the one with the lowest loss on its own validation split, as `dfdc-prep fit` chooses.

Relatives are crops of one family: an original and its fakes, and families that `shard` joined
because they show the same picture. Intervals are 95 %, by family.
"""

import csv
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import cv2
import keras
import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from manifests.labels import LABELS
from manifests.schemas import CROP_SIZE
from training.data import input_pipeline
from training.data.shards import SPLITS, Shards
from training.measures.metrics import classification_metrics
from training.measures.predictions import group_means
from training.models import classifier, devices
from training.recipes import choose_recipe
from training.runs.trainer import ProgressBar

#: Batch of the small network, with the recipe's learning rate scaled by as much (Goyal et al.,
#: "Accurate, Large Minibatch SGD", 2017).
SMALL_BATCH = 64
#: Filters of the small network's convolutions, each of which halves the side.
FILTERS = (32, 64, 96, 128)
#: Images scored at once, and images decoded at once.
SCORED, DECODED = 256, 64
#: Closest a score comes to 0 and 1: the epsilon of Keras's own cross-entropy.
EPSILON = 1e-7

#: The first test set of a network.
OWN_TEST = "its own test"

Logits = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Crops:
    """The crops, and the split of each in both folders.

    `labels`: int64 [N], 1 for FAKE. `families`: [N]. `splits`: train, validation or test, [N].
    """

    labels: npt.NDArray[np.int64]
    families: npt.NDArray[np.str_]
    splits: Mapping[str, npt.NDArray[np.str_]]

    def watched(self, name: str) -> Mask:
        """The crops that the network of a split scores: its validation split, and all tests."""
        tests = np.any([split == "test" for split in self.splits.values()], axis=0)
        watched: Mask = tests | (self.splits[name] == "validation")
        return watched & (self.splits[name] != "train")

    def test_sets(self, name: str) -> dict[str, Mask]:
        """What the network of a split is tested on: parts of the test splits, by their names."""
        own = self.splits[name]
        trained, test = own == "train", own == "test"
        (other,) = (key for key in self.splits if key != name)
        tested_there = (self.splits[other] == "test") & ~trained
        seen = np.isin(self.families, self.families[trained])
        pairs = np.char.add(self.families, np.where(self.labels == 1, "+", "-"))
        same = np.isin(pairs, pairs[trained])
        return {
            OWN_TEST: test,
            "- a relative of the same label in train": test & same,
            "- relatives of the other label only": test & seen & ~same,
            "- no relative in train": test & ~seen,
            f"the {other} test, but what it trained on": tested_there,
            f"- no relative in train ({other})": tested_there & ~seen,
            "families that neither network trained on": self._new_to_all() & ~trained,
        }

    def _new_to_all(self) -> Mask:
        """Test crops of either split without a relative in the train split of any."""
        seen = np.any(
            [np.isin(self.families, self.families[s == "train"]) for s in self.splits.values()],
            axis=0,
        )
        tested = np.any([split == "test" for split in self.splits.values()], axis=0)
        new: Mask = tested & ~seen
        return new


def read_crops(folders: Mapping[str, Path]) -> Crops:
    """The crops in the order of the first folder's manifest.

    Raises:
        click.UsageError: the folders hold different crops.
    """
    tables = {name: Shards(folder).rows() for name, folder in folders.items()}
    first, last = tables.values()
    paths = first["path"].to_pylist()
    splits = {}
    for name, table in tables.items():
        split_of = dict(zip(table["path"].to_pylist(), table["split"].to_pylist(), strict=True))
        if split_of.keys() != set(paths):
            raise click.UsageError("expected the same crops in both folders, found others")
        splits[name] = np.array([split_of[path] for path in paths])
    joined = dict(
        zip(
            last["path"].to_pylist(),
            (j or f for j, f in zip(*(last[c].to_pylist() for c in ("joined_family", "family")),
                                    strict=True)),
            strict=True,
        )
    )  # fmt: skip
    labels = np.array([LABELS.index(label) for label in first["label"].to_pylist()])
    return Crops(labels, np.array([joined[path] for path in paths]), splits)


def decode(folder: Path, size: int) -> npt.NDArray[np.uint8]:
    """All images of a shards folder in the order of its manifest, RGB uint8 [N, size, size, 3]."""
    shards = Shards(folder)
    splits = shards.rows()["split"].to_numpy(zero_copy_only=False)
    images = np.empty((len(splits), size, size, 3), np.uint8)
    for split in SPLITS:
        places = iter(np.flatnonzero(splits == split))
        for batch, _ in input_pipeline.make_dataset(shards, split, DECODED).as_numpy_iterator():
            for image in batch:
                images[next(places)] = (
                    image
                    if size == CROP_SIZE
                    else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
                )
    return images


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of images and labels, uint8 [B, S, S, 3] and float32 [B], in a given order."""

    def __init__(
        self, images: Any, labels: Any, order: npt.NDArray[np.int64], batch: int, whole: bool
    ) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._images, self._labels, self._order, self._batch = images, labels, order, batch
        self._length = len(order) // batch if whole else -(-len(order) // batch)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        taken = self._order[index * self._batch : (index + 1) * self._batch]
        return self._images[taken], self._labels[taken].astype(np.float32)


def small_network(size: int) -> Any:
    """Four convolutions with batch normalization, average pooling and one sigmoid unit."""
    inputs = keras.Input((size, size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    for filters in FILTERS:
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=classifier.SCRATCH_MOMENTUM)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(1, activation="sigmoid", name=classifier.HEAD_LAYER)(x)
    return keras.Model(inputs, head)


@dataclass(frozen=True)
class Networks:
    """Which network is trained, and how."""

    network: str
    size: int
    weights: str
    precision: str
    batch: int | None

    @property
    def recipe(self) -> Any:
        small = self.network == "small"
        batch = self.batch or (SMALL_BATCH if small else 16)
        rate = 0.01 * batch / 16 if small else 0.01
        return choose_recipe("v1.3", {"batch_size": batch, "learning_rate": rate})

    def build(self, seed: int) -> Any:
        """A compiled network; the same seed gives the same weights."""
        keras.utils.set_random_seed(seed)
        recipe = self.recipe
        if self.network == "small":
            model = small_network(self.size)
        else:
            file = classifier.resolve_weights(self.weights, recipe.backbone)
            model = classifier.build_model(recipe, file, self.precision)
        classifier.compile_model(model, recipe, head_only=False, steps=1)
        return model


class Epoch(NamedTuple):
    """What a network of a split and seed had learned after an epoch.

    `logits`: float64 [N], NaN for crops that it does not score.
    """

    split: str
    seed: int
    epoch: int
    loss: float
    accuracy: float
    logits: Logits


def train(
    crops: Crops, images: npt.NDArray[np.uint8], networks: Networks, seed: int, epochs: int
) -> Iterator[list[Epoch]]:
    """Train a network for each split by turns; yield what both had learned after each epoch."""
    models = {name: networks.build(seed) for name in crops.splits}
    batch = networks.recipe.batch_size
    for epoch in range(1, epochs + 1):
        found = []
        for name, model in models.items():
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(np.flatnonzero(crops.splits[name] == "train"))
            bar = ProgressBar(f"{name}, seed {seed}, epoch {epoch}/{epochs}", len(order), batch)
            logs = model.fit(
                Batches(images, crops.labels, order, batch, whole=True),
                shuffle=False, verbose=0, callbacks=[bar],
            ).history  # fmt: skip
            watched = np.flatnonzero(crops.watched(name))
            scores = model.predict(
                Batches(images, crops.labels, watched, SCORED, whole=False), verbose=0
            )
            logits = np.full(len(crops.labels), np.nan)
            logits[watched] = logit(np.clip(scores[:, 0].astype(np.float64), EPSILON, 1 - EPSILON))
            found.append(Epoch(name, seed, epoch, logs["loss"][-1], logs["accuracy"][-1], logits))
        yield found


def log_loss(labels: npt.NDArray[np.int64], logits: Logits) -> float:
    return float(np.mean(np.logaddexp(0, np.where(labels == 1, -logits, logits))))


def curve(crops: Crops, epoch: Epoch) -> dict[str, Any]:
    """A row of curves.csv: losses and accuracies of an epoch."""
    row: dict[str, Any] = {"split": epoch.split, "seed": epoch.seed, "epoch": epoch.epoch}
    row |= {"train_loss": epoch.loss, "train_accuracy": epoch.accuracy}
    for part in ("validation", "test"):
        mask = crops.splits[epoch.split] == part
        labels, logits = crops.labels[mask], epoch.logits[mask]
        row[f"{part}_loss"] = log_loss(labels, logits)
        row[f"{part}_accuracy"] = float(np.mean((logits >= 0) == labels))
    return row


def measure(crops: Crops, logits: Logits, mask: Mask, *, by_family: bool) -> dict[str, Any]:
    """Measures of a test set; by family, a family counts once for each of its labels."""
    labels, families, values = crops.labels[mask], crops.families[mask], logits[mask]
    if by_family:
        pairs = np.char.add(families, np.where(labels == 1, "+", "-"))
        _, first = np.unique(pairs, return_index=True)
        values = group_means(values, pairs.tolist())
        labels, families = labels[first], families[first]
    found = classification_metrics(labels, expit(values), families)
    return {
        "accuracy": [found.accuracy, found.interval.accuracy.low, found.interval.accuracy.high],
        "log_loss": [found.log_loss, found.interval.log_loss.low, found.interval.log_loss.high],
        "auc": [found.auc, found.interval.auc.low, found.interval.auc.high],
    }


def results(crops: Crops, history: list[Epoch]) -> list[dict[str, Any]]:
    """Measures of each network on each of its test sets, at the last epoch and at the best."""
    rows = []
    for name, seed in sorted({(e.split, e.seed) for e in history}):
        own = [e for e in history if (e.split, e.seed) == (name, seed)]
        validation = crops.splits[name] == "validation"
        labels = crops.labels[validation]
        best = min(own, key=lambda e: log_loss(labels, e.logits[validation]))
        for which, epoch in (("last", own[-1]), ("best", best)):
            for title, mask in crops.test_sets(name).items():
                if len(np.unique(crops.labels[mask])) < 2:
                    continue
                rows.append(
                    {
                        "split": name, "seed": seed, "which": which, "epoch": epoch.epoch,
                        "test": title, "images": int(mask.sum()),
                        "fakes": int(crops.labels[mask].sum()),
                        "families": len(np.unique(crops.families[mask])),
                        "image": measure(crops, epoch.logits, mask, by_family=False),
                        "family": measure(crops, epoch.logits, mask, by_family=True),
                    }
                )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown: means over the seeds, and the means of the intervals' ends."""
    lines = []
    for which in ("last", "best"):
        chosen = [row for row in rows if row["which"] == which]
        epochs = sorted({row["epoch"] for row in chosen})
        lines += [
            f"The {which} epoch ({', '.join(map(str, epochs))}):\n",
            "| trained on | tested on | images (FAKE), families | accuracy | log-loss | ROC-AUC "
            "| by family: accuracy | ROC-AUC |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, test in dict.fromkeys((row["split"], row["test"]) for row in chosen):
            same = [row for row in chosen if (row["split"], row["test"]) == (name, test)]
            one = same[0]
            cells = [
                _mean([row[level][value] for row in same])
                for level, value in (
                    ("image", "accuracy"), ("image", "log_loss"), ("image", "auc"),
                    ("family", "accuracy"), ("family", "auc"),
                )
            ]  # fmt: skip
            counts = f"{one['images']:,} ({one['fakes']:,}), {one['families']:,}"
            lines.append(f"| {name} | {test} | {counts} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _mean(values: list[list[float | None]]) -> str:
    """The mean of values and of their intervals' ends; with several seeds, their range."""
    columns = [
        [value for value in column if value is not None] for column in zip(*values, strict=True)
    ]
    if not columns[0]:
        return ""
    text = f"{np.mean(columns[0]):.3f}"
    if columns[1] and columns[2]:
        text += f" [{np.mean(columns[1]):.3f}, {np.mean(columns[2]):.3f}]"
    if len(values) > 1:
        text += f"; seeds {min(columns[0]):.3f} to {max(columns[0]):.3f}"
    return text


def write(out: Path, crops: Crops, history: list[Epoch]) -> list[dict[str, Any]]:
    """Measure all networks, write results.json and table.md, and print the table."""
    rows = results(crops, history)
    (out / "results.json").write_text(json.dumps(rows, indent=1))
    (out / "table.md").write_text(table(rows))
    click.echo(table(rows))
    return rows


def summary(rows: list[dict[str, Any]]) -> str:
    """The last epoch of the last seed on the networks' own tests, in one line."""
    own = {r["split"]: r for r in rows if (r["which"], r["test"]) == ("last", OWN_TEST)}
    return "; ".join(
        f"{name}, epoch {row['epoch']}: accuracy {_mean([row['image']['accuracy']])}, "
        f"ROC-AUC {_mean([row['image']['auc']])}"
        for name, row in own.items()
    )


def save(out: Path, crops: Crops, history: list[Epoch]) -> None:
    """Write the curves and the logits of all epochs so far."""
    curves = [curve(crops, epoch) for epoch in history]
    with (out / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(curves[0]))
        writer.writeheader()
        writer.writerows(curves)
    logits = {f"{e.split}-{e.seed}-{e.epoch}": e.logits.astype(np.float32) for e in history}
    np.savez_compressed(out / "logits.npz", **logits)


@click.command()
@click.argument("random", type=click.Path(exists=True, path_type=Path))
@click.argument("family", type=click.Path(exists=True, path_type=Path))
@click.option("--network", type=click.Choice(["small", "v1.3"]), default="small", show_default=True)
@click.option("--size", default=64, show_default=True, help="Side of the small network's images.")
@click.option("--weights", default="none", show_default=True, help="Of v1.3, as of dfdc-prep fit.")
@click.option("--precision", default="float32", show_default=True, help="Of v1.3.")
@click.option("--batch", type=int, help="Batch size. [default: 64; v1.3: 16]")
@click.option("--epochs", default=12, show_default=True, help="At most.")
@click.option("--minutes", type=float, help="Begin no further epoch after so long.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON at the end.")
@click.option("--out", default="paper_splits", show_default=True, type=click.Path(path_type=Path))
def main(
    random: Path, family: Path, network: str, size: int, weights: str, precision: str,
    batch: int | None, epochs: int, minutes: float | None, seeds: int, as_json: bool, out: Path,
) -> None:  # fmt: skip
    """Train a network on each of two splits of the same crops, and print what both learned."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    click.echo(devices.find_devices().description())
    crops = read_crops({"random": random, "family": family})
    networks = Networks(network, size if network == "small" else CROP_SIZE, weights, precision,
                        batch)  # fmt: skip
    images = decode(random, networks.size)
    click.echo(f"{len(images):,} crops decoded, {images.nbytes / 1e9:.1f} GB")
    history: list[Epoch] = []
    for seed in range(1, seeds + 1):
        for found in train(crops, images, networks, seed, epochs):
            history += found
            save(out, crops, history)
            elapsed = (time.monotonic() - started) / 60
            click.echo(
                f"{elapsed:6.1f} min, seed {seed}, epoch {found[0].epoch}: "
                + "; ".join(
                    f"{e.split} train {e.loss:.3f}, test {row['test_loss']:.3f} "
                    f"({row['test_accuracy']:.3f})"
                    for e, row in ((e, curve(crops, e)) for e in found)
                )
            )
            if minutes and elapsed > minutes:
                break
        else:
            continue
        break
    rows = write(out, crops, history)
    if as_json:
        click.echo(json.dumps({"text": summary(rows)}))


if __name__ == "__main__":
    main()
