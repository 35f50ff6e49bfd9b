"""The command `dfdc-prep app`: options, server, model.

The options are parsed before anything else is imported, so that --help is fast.
"""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import click

from dfdc_prep.commands.declaration import Option, TrainingCommand, command, command_of
from dfdc_prep.commands.options import PATH, TEXT, CountParam, DetectorModel, FloatParam, StrPath
from manifests.errors import TrainingError

#: Scheme and host, and perhaps a port.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?")
#: Packages of the extra `app`.
_PACKAGES = ("waitress", "werkzeug")


@command(cls=TrainingCommand)
def app(
    run: Annotated[StrPath, PATH],
    *,
    host: Annotated[str, TEXT] = "127.0.0.1",
    port: Annotated[int, click.IntRange(0, 65535)] = 7860,
    allow_host: Annotated[Iterable[str], Option(TEXT, metavar="NAME", multiple=True)] = (),
    embed_in: Annotated[str | None, Option(TEXT, metavar="ORIGIN")] = None,
    max_mb: Annotated[int, CountParam(1)] = 100,
    max_seconds: Annotated[float, FloatParam(0, min_open=True)] = 60,
    max_megapixels: Annotated[float, FloatParam(0, 33, min_open=True)] = 17,
    detector_model: DetectorModel = None,
    shards: Annotated[StrPath | None, PATH] = None,
) -> None:
    """Show the model of RUN in a browser: upload an image or a clip, see each face's P(FAKE).

    Only this machine can open the page unless --host says otherwise. Uploads are deleted once
    they are scored, results after 15 minutes.

    \b
    Example:
      dfdc-prep app runs/v1.3

    Args:
        run: The folder of a run.
        host: Address to listen on; 0.0.0.0 for all.
        port: Port to listen on; 0 for any free one.
        allow_host: A name under which browsers reach the app, beside those of this machine.
            Repeatable.
        embed_in: The site that may show the app in a frame, for example https://huggingface.co.
        max_mb: Largest upload, MB.
        max_seconds: Longest clip.
        max_megapixels: Largest image or frame.
        shards: The shards of the run, of which the page offers some faces to try. Without it they
            are looked for where they were at the training, if only this machine opens the page.

    Raises:
        TrainingError: a package or the run is missing, or the address cannot be used.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"expected the packages of the extra app, found no {' and no '.join(missing)}; "
            "run pip install 'dfdc-prep[app]'"
        )
    from training.app.jobs import MEGA, Limits
    from training.app.server import LOCAL_HOSTS, Access
    from training.app.serving import serve

    limits = Limits(
        upload_bytes=max_mb * MEGA, clip_seconds=max_seconds, pixels=round(max_megapixels * MEGA)
    )
    if embed_in is not None and not _ORIGIN.fullmatch(embed_in):
        raise click.BadParameter("expected an origin such as https://huggingface.co.")
    access = Access((*LOCAL_HOSTS, host, *allow_host), embed_in)
    weights = None if detector_model is None else Path(detector_model)
    try:
        folder = None if shards is None else Path(shards)
        serve(Path(run), (host, port), limits, access, weights, folder)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


main = command_of(app)

if __name__ == "__main__":
    main()
