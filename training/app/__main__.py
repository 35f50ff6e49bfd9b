"""The command `dfdc-prep app`: options, server, model.

The options are parsed before anything else is imported, so that --help is fast.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import click

from dfdc_prep.commands.declaration import TrainingCommand
from dfdc_prep.commands.options import CountParam, FloatParam, PathParam, TextParam
from manifests.errors import TrainingError

#: Names of this machine that its own browser may use.
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
#: Scheme and host, and perhaps a port.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?")
#: Packages of the extra `app`.
_PACKAGES = ("waitress", "werkzeug")


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=PathParam())
@click.option(
    "--host", type=TextParam(), default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 for all.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True,
    help="Port to listen on; 0 for any free one.",
)  # fmt: skip
@click.option(
    "--allow-host", type=TextParam(), multiple=True, metavar="NAME",
    help="A name under which browsers reach the app, beside those of this machine. Repeatable.",
)  # fmt: skip
@click.option(
    "--embed-in", type=TextParam(), metavar="ORIGIN",
    help="The site that may show the app in a frame, for example https://huggingface.co.",
)  # fmt: skip
@click.option(
    "--max-mb", type=CountParam(1), default=100, show_default=True, help="Largest upload, MB."
)
@click.option(
    "--max-seconds", type=FloatParam(0, min_open=True), default=60, show_default=True,
    help="Longest clip.",
)  # fmt: skip
@click.option(
    "--max-megapixels", type=FloatParam(0, 33, min_open=True), default=17, show_default=True,
    help="Largest image or frame.",
)  # fmt: skip
@click.option(
    "--detector-model", type=PathParam(),
    help="YuNet weights file; also DFDC_PREP_YUNET. [default: cached, else downloaded]",
)  # fmt: skip
def main(
    run: Path,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    embed_in: str | None,
    max_mb: int,
    max_seconds: float,
    max_megapixels: float,
    detector_model: Path | None,
) -> None:
    """Show the model of RUN in a browser: upload an image or a clip, see each face's P(FAKE).

    Only this machine can open the page unless --host says otherwise. Uploads are deleted once
    they are scored, results after 15 minutes.

    \b
    Example:
      dfdc-prep app runs/v1.3
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"expected the packages of the extra app, found no {' and no '.join(missing)}; "
            "run pip install 'dfdc-prep[app]'"
        )
    from training.app.jobs import MEGA, Limits
    from training.app.server import Access
    from training.app.serving import serve

    limits = Limits(
        upload_bytes=max_mb * MEGA,
        clip_seconds=max_seconds,
        pixels=round(max_megapixels * MEGA),
    )
    if embed_in is not None and not _ORIGIN.fullmatch(embed_in):
        raise click.BadParameter("expected an origin such as https://huggingface.co.")
    access = Access((*LOCAL_HOSTS, host, *allow_host), embed_in)
    try:
        serve(run, (host, port), limits, access, detector_model)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


if __name__ == "__main__":
    main()
