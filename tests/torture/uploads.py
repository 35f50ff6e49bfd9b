"""Images and clips that are none, uploaded to the app: each gets an answer, no file is left."""

import http.client
import io
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut
from werkzeug.test import EnvironBuilder

from tests.torture import clips, mutate
from tests.torture.command import started, tail
from tests.torture.names import png
from tests.torture.scene import MODEL, Scene
from tests.torture.trial import Trial

#: Seconds until the app has loaded its model, and until it has answered an upload.
LOAD_SECONDS, ANSWER_SECONDS = 120.0, 150.0
#: What every page of a job that is over contains one of.
ANSWERS = ('class="problem"', 'id="result"', "No face found")


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """So many uploads to one app, which is killed at the end."""
    scratch = scene.place("uploads") / "scratch"
    scratch.mkdir()
    words = ["-m", "training.app", str(scene.trained), "--port", "0", "--max-seconds", "20"]
    os.environ["TMPDIR"] = str(scratch)
    try:
        with started([*words, "--detector-model", str(MODEL)], scratch.parent) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline().split()[0].rpartition(":")[2])
            if not _wait(lambda: _get(port, "/health")[1] == b'{"ready": true}', LOAD_SECONDS):
                yield Trial("uploads", "loading the model", "hang", "not ready")
                return
            before = _files(scratch)
            for kind, name, content in mutants(draw, count):
                yield _trial(port, kind, name, content)
            process.kill()
            said = process.stderr.read() if process.stderr else ""
        if "Traceback" in said:
            yield Trial("uploads", "the app's console", "traceback", tail(said))
    finally:
        del os.environ["TMPDIR"]
    left = _files(scratch) - before
    yield Trial("uploads left", "files", "outside" if left else "survived", str(left or ""))


def mutants(draw: random.Random, count: int) -> Iterator[tuple[str, str, bytes]]:
    """Kind, file name and content of each upload."""
    pictures = [_encoded(form) for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")]
    known = clips.bases()
    whole = [("PNG 50,000 x 50,000", png(50_000, 50_000)), ("PNG 6,000 x 6,000", png(6_000, 6_000))]
    for number in range(count):
        name = draw.choice((*mutate.HOSTILE, "face.png", "clip.mp4"))
        if number < len(whole):
            kind, content = whole[number]
        elif number % 2:
            kind, content = "image", mutate.any_bytes(draw.choice(pictures), draw)
        else:
            kind, content = "clip", draw.choice(clips.MUTATIONS)(draw.choice(known), draw)
        yield kind, name, content


def _files(folder: Path) -> set[Path]:
    """The files below a folder; those there before the first upload are the libraries' own."""
    return {path for path in folder.rglob("*") if path.is_file()}


def _encoded(form: str) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.asarray(astronaut())[:300]).save(written, form)
    return written.getvalue()


def _trial(port: int, kind: str, name: str, content: bytes) -> Trial:
    """Upload one file and wait for its answer."""
    kind = f"upload {kind}"
    status, body, place = _post(port, name, content)
    if status != 303:
        end = "survived" if status == 400 and b'class="problem"' in body else "lost"
        return Trial(kind, ascii(name), end, f"status {status}")

    def over() -> bool:
        return json.loads(_get(port, f"{place}/state")[1])["state"] in ("done", "failed")

    if not _wait(over, ANSWER_SECONDS):
        return Trial(kind, ascii(name), "hang", place)
    status, body = _get(port, place)
    answered = status == 200 and any(answer in body.decode() for answer in ANSWERS)
    return Trial(kind, ascii(name), "survived" if answered else "lost", f"status {status}")


def _post(port: int, name: str, content: bytes) -> tuple[int, bytes, str]:
    form = EnvironBuilder(
        method="POST", data={"file": (io.BytesIO(content), name or "x"), "frames": "3"}
    )
    body = form.get_environ()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        "POST", "/jobs", body["wsgi.input"].read(), {"Content-Type": body["CONTENT_TYPE"]}
    )
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers.get("Location", "")


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.05)
    return False
