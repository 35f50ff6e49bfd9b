"""The web application: pages, pictures and downloads. It runs in any WSGI server."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, NotFound, abort
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from manifests.labels import FAKE
from manifests.wording import counted
from training.app import result as plot
from training.app.jobs import DONE, FAILED, MEGA, Job, Jobs, Limits, Refused, read_upload
from training.app.result import UNDECIDED, ModelFacts, Result, draw_curve
from training.app.samples import Sample

#: The threshold of the first view, and that of `training.evaluate`.
THRESHOLD = 0.5
#: Bytes of the form beside the file.
FORM_BYTES = 64_000
_OWN, _REPORTS = files("training.app") / "static", files("dfdc_prep.reports") / "templates"
#: Files of the page, by name.
_STATIC = {
    "app.css": (_OWN, "text/css"),
    "app.js": (_OWN, "text/javascript"),
    "copy.js": (_REPORTS, "text/javascript"),
    "icon.svg": (_OWN, "image/svg+xml"),
}
#: Names of this machine that its own browser may use.
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
#: Headers of every answer: nothing is kept in caches, or leaves the site.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_JPEG, _PNG, _JSON = "image/jpeg", "image/png", "application/json"
_POSTED = ("submit", "delete")

_URLS = Map(
    [
        Rule(address, endpoint=endpoint, methods=["POST" if endpoint in _POSTED else "GET"])
        for address, endpoint in {
            "/": "start",
            "/health": "health",
            "/static/<name>": "static",
            "/samples/<int:number>": "sample",
            "/jobs": "submit",
            "/jobs/<key>": "job",
            "/jobs/<key>/state": "state",
            "/jobs/<key>/delete": "delete",
            "/jobs/<key>/pictures/<int:number>.jpg": "picture",
            "/jobs/<key>/faces/<int:number>.png": "crop",
            "/jobs/<key>/heatmaps/<int:number>.jpg": "heatmap",
            "/jobs/<key>/crops.zip": "crops",
            "/jobs/<key>/annotated.mp4": "annotated",
            "/jobs/<key>/prediction.json": "prediction",
        }.items()
    ]
)


#: A `Host` header: a name or an IPv4 address, or an IPv6 address in brackets; perhaps a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d+)?")


@dataclass(frozen=True)
class Access:
    """Who may use the app.

    Requests to other hosts are refused, so that no page elsewhere can reach the app under a name of
    its own (DNS rebinding).
    """

    hosts: tuple[str, ...]  # without ports; `.example.org` stands for all names that end with it
    embedder: str | None = None  # origin of the page that may show the app in a frame

    @property
    def is_local(self) -> bool:
        """Whether only browsers of this machine are meant to use it."""
        return self.embedder is None and set(self.hosts) <= set(LOCAL_HOSTS)

    def allows_host(self, header: str) -> bool:
        """Whether the `Host` header of a request names one of the hosts."""
        match = _HOST.fullmatch(header)
        if not match:
            return False
        name = (match["ipv6"] or match["name"]).lower()
        return any(
            name.endswith(host) if host.startswith(".") else name == host
            for host in (allowed.lower() for allowed in self.hosts)
        )

    def policy(self) -> str:
        """The content security policy: nothing that the pages do not need."""
        return (
            "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
        ) + (self.embedder or "'none'")


def is_cross_site(headers: Headers) -> bool:
    """Whether a form of another site sent the request, as far as its browser says."""
    if site := headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("Host")


class App:
    """The WSGI application."""

    def __init__(
        self,
        jobs: Jobs,
        facts: ModelFacts,
        limits: Limits,
        access: Access,
        samples: Sequence[Sample] = (),
    ) -> None:
        self.samples = samples  # faces of the set to try; they may come later
        self._jobs = jobs
        self._facts = facts
        self._limits = limits
        self._access = access
        self._templates = Environment(
            loader=PackageLoader("training.app"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(facts=facts, limits=limits, mega=MEGA, threshold=THRESHOLD)

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(dict(environ))
        request.max_content_length = self._limits.upload_bytes + FORM_BYTES
        response = self._respond(request)
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._access.policy()
        return response(environ, start_response)  # type: ignore[arg-type]

    def _respond(self, request: Request) -> Response:
        if not self._access.allows_host(request.headers.get("Host", "")):
            return Response("unknown host: start the app with --allow-host NAME\n", 421)
        try:
            endpoint, values = _URLS.bind_to_environ(request.environ).match()
            if request.method == "POST" and is_cross_site(request.headers):
                raise Refused("expected a request from this page, found one from another", 403)
            response: Response = getattr(self, f"_on_{endpoint}")(request, **values)
            return response
        except Refused as refused:
            return self._message(str(refused), refused.status)
        except NotFound:
            return self._message(
                "this page does not exist, or its result was deleted. Results are kept for "
                f"{self._limits.result_seconds / 60:g} minutes",
                404,
            )
        except HTTPException as error:
            return self._message(error.description or error.name, error.code or 400)

    def _on_start(self, request: Request) -> Response:
        return self._page("start.html", 200)

    def _on_health(self, request: Request) -> Response:
        state = {"ready": self._jobs.ready, "samples": len(self.samples)}
        return Response(json.dumps(state), mimetype=_JSON)

    def _on_static(self, request: Request, name: str) -> Response:
        if name not in _STATIC:
            abort(404)
        folder, mimetype = _STATIC[name]
        return Response((folder / name).read_bytes(), mimetype=mimetype)

    def _on_sample(self, request: Request, number: int) -> Response:
        image = _item(self.samples, number).image
        return Response(image, mimetype=_PNG if image.startswith(b"\x89PNG") else _JPEG)

    def _on_submit(self, request: Request) -> Response:
        try:
            job = self._jobs.submit(read_upload(request, self._limits, self.samples))
        except Exception:
            request.close()  # deletes the temporary files
            raise
        return redirect(f"/jobs/{job.key}", 303, Response)

    def _on_job(self, request: Request, key: str) -> Response:
        job = self._job(key)
        if job.state == FAILED:
            return self._message(job.message or "", 200, name=job.upload.name)
        if job.state == DONE and job.result:
            return self._result(job, job.result)
        return self._page("waiting.html", 200, job=job, status=self._status(job))

    def _on_state(self, request: Request, key: str) -> Response:
        job = self._job(key)
        state = {"state": job.state, "status": self._status(job), "annotated": None}
        if result := job.result:  # pending forever for an image
            failed = "failed" if result.annotation_error else "pending"
            state["annotated"] = "ready" if result.annotated else failed
        return Response(json.dumps(state), mimetype=_JSON)

    def _on_delete(self, request: Request, key: str) -> Response:
        self._jobs.delete(key)
        return redirect("/", 303, Response)

    def _on_picture(self, request: Request, key: str, number: int) -> Response:
        return Response(_item(self._finished(key).views, number).jpeg, mimetype=_JPEG)

    def _on_crop(self, request: Request, key: str, number: int) -> Response:
        return Response(_item(self._finished(key).faces, number).crop, mimetype=_PNG)

    def _on_heatmap(self, request: Request, key: str, number: int) -> Response:
        return Response(_item(self._finished(key).faces, number).heatmap, mimetype=_JPEG)

    def _on_crops(self, request: Request, key: str) -> Response:
        return _download(self._finished(key).crops_zip(), "application/zip", "crops.zip")

    def _on_annotated(self, request: Request, key: str) -> Response:
        clip = self._finished(key).annotated or abort(404)
        return _download(clip, "video/mp4", "annotated.mp4")

    def _on_prediction(self, request: Request, key: str) -> Response:
        text = self._finished(key).prediction.as_json() + "\n"
        return _download(text.encode(), _JSON, "prediction.json")

    def _job(self, key: str) -> Job:
        return self._jobs.get(key) or abort(404)

    def _finished(self, key: str) -> Result:
        return self._job(key).result or abort(404)

    def _status(self, job: Job) -> str:
        """Where a job is, in one sentence."""
        before = self._jobs.uploads_before(job)
        ahead = f"{counted(before, 'file')} before yours." if before else ""
        if not self._jobs.ready:
            return f"The model is still loading. {ahead or 'Your file is next.'}"
        return ahead or "Finding faces and scoring them."

    def _result(self, job: Job, result: Result) -> Response:
        if not result.faces:
            return self._page("no_face.html", 200, job=job, result=result)
        drawn = draw_curve(result.persons) if result.is_clip else None
        words = [self._facts.word(face.p_fake, THRESHOLD) for face in result.faces]
        # As the script says it at other thresholds.
        counts = (
            f"{words.count(FAKE)} of {counted(len(words), 'face')} FAKE at {THRESHOLD:.2f}, "
            f"{words.count(UNDECIDED)} undecided"
        )
        values: dict[str, Any] = {"job": job, "result": result, "drawn": drawn, "plot": plot}
        values["counts"] = counts
        from training.evaluation import heatmaps  # loaded, since there is a heatmap

        values |= {"min_scale": heatmaps.MIN_SCALE, "min_contrast": heatmaps.MIN_CONTRAST}
        values["command"] = self._facts.command(job.upload, result.is_clip)
        return self._page("result.html", 200, **values)

    def _message(self, message: str, status: int, name: str | None = None) -> Response:
        return self._page("message.html", status, message=message, name=name)

    def _page(self, template: str, http_status: int, **values: Any) -> Response:
        text = self._templates.get_template(template).render(
            values, ready=self._jobs.ready, samples=self.samples
        )
        return Response(text, http_status, mimetype="text/html")


def _item(items: Sequence[Any], number: int) -> Any:
    return items[number] if number < len(items) else abort(404)


def _download(content: bytes, mimetype: str, name: str) -> Response:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype=mimetype, headers=disposition)
