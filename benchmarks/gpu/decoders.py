"""Compares extraction with decoding on the GPU and on the CPU, on any folder of clips.

    python -m benchmarks.gpu.decoders dfdc --model face_detection_yunet_2026may.onnx --repeat 10

Whole runs, several workers each. The clips are linked `--repeat` times, each link its own family,
so that the start-up counts little. Prints clips per second, how many clips each decoder decoded,
and whether the crops are the same bytes.
"""

import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

import dfdc_prep
from manifests.schema import CLIP_LOG_SCHEMA
from manifests.tables.parquet import read_manifest, read_table


def linked(source: Path, folder: Path, repeat: int) -> Path:
    """A part that links each clip below `source` so many times."""
    part = folder / "dfdc" / "dfdc_train_part_0"
    part.mkdir(parents=True)
    clips = sorted(path for path in source.rglob("*") if path.suffix in (".mp4", ".mov"))
    names = {}
    for number in range(repeat):
        for index, clip in enumerate(clips):
            name = f"{number:04}_{index:04}.mp4"
            (part / name).symlink_to(clip.resolve())
            names[name] = {"label": "REAL"}
    (part / "metadata.json").write_text(json.dumps(names))
    return part.parent


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--repeat", default=10, show_default=True)
@click.option("--frames", default=10, show_default=True)
@click.option("--workers", type=int, multiple=True, help="[default: cores]")
@click.option(
    "--decoder",
    "decoders",
    type=click.Choice(["cpu", "gpu"]),
    multiple=True,
    default=("cpu", "gpu"),
)
def main(
    source: Path,
    model: Path,
    repeat: int,
    frames: int,
    workers: tuple[int, ...],
    decoders: tuple[str, ...],
) -> None:
    """Print a line per decoder and number of workers, then the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clips = linked(source, folder, repeat)
        rates: dict[str, float] = {}
        crops: set[tuple[str, ...]] = set()
        seen: set[str | None] = set()
        for decoder in decoders:
            for count in workers or (None,):
                out = folder / f"{decoder}-{count}"
                began = time.perf_counter()
                dfdc_prep.extract(
                    clips, out, frames=frames, detector="yunet", detector_model=model,
                    decoder=decoder, workers=count,
                )  # fmt: skip
                seconds = time.perf_counter() - began
                log = read_table(out / "clips.parquet", CLIP_LOG_SCHEMA, "")
                used = dict(Counter(log["decoder"].to_pylist()))
                seen |= used.keys()
                rate = log.num_rows / seconds
                rates[decoder] = max(rate, rates.get(decoder, 0.0))
                crops.add(tuple(read_manifest(out / "manifest.parquet")["sha256"].to_pylist()))
                click.echo(f"{decoder}, workers {count or 'cores'}: {rate:.2f} clips/s, {used}")
    if len(rates) > 1:
        click.echo(f"gpu / cpu: {rates['gpu'] / rates['cpu']:.2f}")
    if not {"cpu", "gpu"} <= seen:
        click.echo("not compared: clips were decoded on one of them only")
    elif len(crops) > 1:
        raise click.ClickException("the crops differ")
    else:
        click.echo("same crops")


if __name__ == "__main__":
    main()
