"""`dfdc-prep probe SHARDS`: what plain classifiers get on the split as it is.

TensorFlow is imported only for a backbone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from dfdc_prep.commands.declaration import Given, TrainingCommand, command, command_of
from dfdc_prep.commands.options import LOCATION, WRITABLE, CountParam, StrPath
from dfdc_prep.commands.terminal import report_hint
from dfdc_prep.storage.workspace import Mirror, Push, Staged, staged
from training.models.settings import CHANNELS, SCALES, InputSettings

if TYPE_CHECKING:
    from dfdc_prep.reports.probes import ProbeReport


def _after(_: "ProbeReport", given: Given) -> Iterator[str]:
    from training.probing.probes import DEFAULT_CACHE

    if given["sample"]:
        kept = given["cache"] or DEFAULT_CACHE
        yield f"face encodings, biometric data, are kept in {kept}: remove it to forget them"
    yield report_hint(given["shards"])


@command(cls=TrainingCommand, hints=_after, has_json=True)
@staged(shards=Staged(Mirror.pull_all, Push()), scores=Staged((), Push()))
def probe(
    shards: Annotated[StrPath, LOCATION] = "shards",
    *,
    clips: Annotated[StrPath | None, LOCATION] = None,
    crops: Annotated[int, CountParam(1)] = 100_000,
    sample: Annotated[int, CountParam(0)] = 4000,
    backbone: Annotated[StrPath | None, LOCATION] = None,
    scale: Annotated[str, click.Choice(SCALES)] = "0..255",
    channels: Annotated[str, click.Choice(CHANNELS)] = "rgb",
    cache: Annotated[StrPath | None, WRITABLE] = None,
    scores: Annotated[StrPath | None, WRITABLE] = None,
) -> "ProbeReport":
    """Measure what plain classifiers get on the split of SHARDS.

    The nearest neighbour on thumbnails, and logistic regressions on the measures of each crop and
    on fixed features of the whole crop, of the crop with its face covered and of the face alone,
    are trained on train and tested on test. A high ROC-AUC without the face, or by a thumbnail,
    says that a model need not look for traces of forgery. A low one says only that these probes
    find nothing.

    Writes probe.json into SHARDS, for the report. The features of each image are kept, so that a
    second run, and another split of the same crops, take seconds. Those of dlib are face
    encodings: biometric data.

    \b
    Example:
      dfdc-prep probe shards --clips faces
      dfdc-prep probe shards --backbone resnet.onnx --scale imagenet --json
      dfdc-prep probe shards --scores probes

    Args:
        shards: A shards folder.
        clips: The faces folder of these crops, or its clips.parquet: how the clips were encoded is
            probed too.
        crops: Most crops that are looked at; of more, some by their hash.
        sample: Crops that dlib and the backbone look at, the same ones in every split of them; 0
            for none.
        backbone: A Keras or ONNX file whose output vector is a crop's features.
        scale: Range of the backbone's input; imagenet is (0..1 - mean) / deviation.
        channels: Order of the backbone's color channels.
        cache: Folder of the features. None: one of this user.
        scores: Folder for the probes' scores of test, as tables that compare reads.

    Raises:
        TrainingError: a split lacks a label, or the backbone cannot be used.
        ShardError, TableError: the shards are missing, damaged, or not those of their manifest; or
            clips.parquet is.
        OutputError: the folder of the scores has other files.
    """
    from training.probing.probes import Keep, probe_shards

    network = None
    if backbone is not None:
        network = Path(backbone), InputSettings(channels=channels, scale=scale)
    keep = Keep(*(None if each is None else Path(each) for each in (cache, scores)))
    log = None if clips is None else Path(clips)
    return probe_shards(Path(shards), sample, network, keep, crops, log)


main = command_of(probe)

if __name__ == "__main__":
    main()
