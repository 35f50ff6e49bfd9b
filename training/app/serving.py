"""Starts the app: the server answers from a thread at once while the model is loading.

The main thread loads TensorFlow and the model, then analyzes the uploads one after another.
"""

import time
from pathlib import Path
from threading import Thread
from typing import Any

import click

from dfdc_prep.parallel.forkserver import forkserver_context
from training.app.access import Access
from training.app.connections import ConnectionLimits, create_server
from training.app.jobs import Jobs
from training.app.limits import Limits
from training.app.model_facts import read_facts
from training.app.server import FORM_BYTES, App

#: Processes that read uploads: one works, since one upload is analyzed at a time.
_WORKERS = 1


def serve(
    run: Path,
    address: tuple[str, int],
    limits: Limits,
    access: Access,
    detector_model: Path | None = None,
) -> None:
    """Serve the app for a run until interrupted.

    Args:
        address: host and port to listen on.
        detector_model: path of YuNet's weights.

    Raises:
        TrainingError: the folder does not contain a finished run.
        ModelError: the detector's weights are not available.
        OSError: the address is in use or not this machine's.
    """
    started = time.monotonic()
    facts = read_facts(run)
    jobs = Jobs(limits)
    app = App(jobs, facts, limits, access)
    max_body = limits.upload_bytes + FORM_BYTES
    server = create_server(app, address, max_body, ConnectionLimits())
    Thread(target=server.run, daemon=True).start()
    click.echo(f"{_url(server, address[0])} answers; the model is loading")
    forkserver_context()
    try:
        _work(run, jobs, limits, detector_model, started)
    finally:
        server.close()


def _url(server: Any, host: str) -> str:
    """The address to open; a name may stand for several."""
    listens = getattr(server, "effective_listen", None) or [(host, server.effective_port)]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listens[0][1]}"


def _work(
    run: Path, jobs: Jobs, limits: Limits, detector_model: Path | None, started: float
) -> None:
    """Load the model and the detector, then analyze uploads until interrupted."""
    from dfdc_prep.parallel.confinement import why_unconfined
    from dfdc_prep.parallel.processes import LocalWorkers
    from training.app.processing.analysis import Analyzer
    from training.app.processing.decoding import init_worker
    from training.inference.predictor import settings_for_run
    from training.inference.scorer import Scorer

    scorer = Scorer(run)
    detector, margin = settings_for_run(scorer.crop_settings, detector_model)
    if reason := why_unconfined():
        click.echo(f"the process that decodes uploads is not confined: {reason}")
    prepared = (detector, reason is None)
    workers = LocalWorkers(_WORKERS, limits.work_seconds, init_worker, prepared)
    try:
        analyzer = Analyzer(scorer, workers, margin, limits)
        analyzer.warm_up()
        click.echo(f"ready after {time.monotonic() - started:.1f} s; stop with Ctrl-C")
        jobs.run(analyzer)
    finally:
        workers.stop()
