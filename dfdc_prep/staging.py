"""Runs a command on places in a bucket: what it reads is fetched to a scratch folder, the command
runs there as on a disk, and what it wrote is put back.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dfdc_prep.storage.urls import Location, Url, is_folder
from manifests.errors import DfdcPrepError
from manifests.folders import OTHER_KINDS, FacesFolder, RunFolder, ShardsFolder

if TYPE_CHECKING:
    from dfdc_prep.storage.mirror import Mirror

_MANIFEST, _SHARDS_INFO = FacesFolder.MANIFEST, ShardsFolder.INFO
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Staged:
    """What a command needs of one of its arguments.

    Attributes:
        pull: fetches what the command reads into the mirror.
        writes: whether the command writes there.
        alone: whether no other command may write there at the same time.
        resumes: whether what an interrupted command leaves lets the next one go on.
        last: files that are put last, because their presence means that the rest is there.
    """

    pull: "Callable[[Mirror], object]"
    writes: bool = False
    alone: bool = False
    resumes: bool = False
    last: tuple[str, ...] = ()


def tables(*names: str) -> "Callable[[Mirror], object]":
    """Fetch these files."""
    return lambda mirror: mirror.pull(names)


def crops_of(table: str, *others: str) -> "Callable[[Mirror], object]":
    """Fetch a table, the crops and masks that it names, and other files."""

    def pull(mirror: "Mirror") -> None:
        if mirror.pull([table, *others]) and (mirror.folder / table).is_file():
            mirror.pull(_paths(mirror.folder / table))

    return pull


def crops_to_split(arguments: Mapping[str, Any]) -> Staged:
    """What a command with the option `crops` reads of a faces folder."""
    tables_of = {"all": _MANIFEST, "split": FacesFolder.SPLIT, "balanced": FacesFolder.BALANCED}
    return Staged(crops_of(tables_of[arguments["crops"]], FacesFolder.IDENTITIES, _MANIFEST))


def balanced_crops(arguments: Mapping[str, Any]) -> Staged:
    """What `split` reads of a faces folder: the crops only if it compares them."""
    names = (FacesFolder.BALANCED, FacesFolder.IDENTITIES, _MANIFEST, *OTHER_KINDS)
    compares = arguments["join_duplicates"] and not arguments["official"]
    return Staged(crops_of(*names) if compares else tables(*names), writes=True)


def everything(mirror: "Mirror") -> None:
    """Fetch every file."""
    mirror.pull(mirror.names())


def nothing(mirror: "Mirror") -> None:
    """Fetch nothing: the command only writes."""


def all_but(*parts: str) -> "Callable[[Mirror], object]":
    """Fetch every file but those with such a part in their name, which only have a size."""
    return lambda mirror: mirror.lay_out(lambda name, _: not any(part in name for part in parts))


def faces_to_encode(mirror: "Mirror") -> None:
    """Fetch what `identify` reads: its own files, the manifest, crops to encode and to compare."""
    from dfdc_prep.identities.candidates import choose_candidates
    from manifests.errors import TableError
    from manifests.pictures.near_identical import rows_to_compare
    from manifests.tables.parquet import read_manifest

    mirror.pull(
        [
            _MANIFEST,
            *OTHER_KINDS,
            FacesFolder.IDENTITIES,
            FacesFolder.SETTLED,
            *FacesFolder.BIOMETRIC,
        ]
    )
    with suppress(TableError):  # the command says what is wrong with it
        manifest = read_manifest(mirror.folder / _MANIFEST)
        encoded = [crop.path for clip in choose_candidates(manifest) for crop in clip.crops]
        compared = manifest["path"].filter(rows_to_compare(manifest)).to_pylist()
        mirror.pull(dict.fromkeys([*encoded, *compared]))


def compared_by_audit(mirror: "Mirror") -> None:
    """Fetch what `audit` reads of a shards folder, a faces folder or a folder of crops."""
    found = mirror.pull([_SHARDS_INFO, FacesFolder.SPLIT, _MANIFEST, FacesFolder.IDENTITIES])
    tables_found = [name for name in (FacesFolder.SPLIT, _MANIFEST) if name in found]
    if _SHARDS_INFO in found or not tables_found:
        everything(mirror)
    else:
        mirror.pull(_paths(mirror.folder / tables_found[0]))


def shown_in_report(mirror: "Mirror") -> None:
    """Fetch what `report` reads of a run, a shards folder or a faces folder."""
    found = mirror.pull([RunFolder.CONFIG, RunFolder.METRICS, _SHARDS_INFO, _MANIFEST])
    if RunFolder.CONFIG in found or RunFolder.METRICS in found:
        names = mirror.names()
        unread = (f"{RunFolder.CHECKPOINTS}/", f"{RunFolder.LOGS}/", RunFolder.MODEL)
        mirror.pull(name for name in names if not name.startswith(unread))
    elif _SHARDS_INFO in found:
        everything(mirror)
    else:
        mirror.pull([FacesFolder.CLIPS, FacesFolder.RUN])
        mirror.pull(_paths(mirror.folder / _MANIFEST) if _MANIFEST in found else ())


def staged(
    **needs: Staged | Callable[[Mapping[str, Any]], Staged],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function of the API take URLs where it takes paths, or tuples of them.

    Without a URL, the function is called as it is.

    Args:
        needs: by the name of the parameter; or a function of all arguments that returns it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            places = {name: given.arguments[name] for name in needs if name in given.arguments}
            if not any(map(_has_url, places.values())):
                return function(*args, **kwargs)
            given.apply_defaults()
            with ExitStack() as stack:
                run = _StagedCall(stack)
                for name, place in places.items():
                    need = needs[name]
                    need = need if isinstance(need, Staged) else need(given.arguments)
                    given.arguments[name] = run.enter_all(place, need)
                return run.result(lambda: function(*given.args, **given.kwargs))

        return call

    return decorate


def _has_url(value: Any) -> bool:
    """Whether a value is a URL, or a tuple with one."""
    return any(isinstance(each, Url) for each in (value if isinstance(value, tuple) else (value,)))


class _StagedCall:
    """One call of a function: its mirrors, and their paths in what it returns and raises."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._mirrors: list[tuple[Mirror, Staged]] = []

    def enter_all(self, value: Any, needs: Staged) -> Any:
        """Fetch what each URL in an argument needs; return the argument with paths instead."""
        if isinstance(value, tuple):
            return tuple(self.enter_all(each, needs) for each in value)
        return self.enter(value, needs) if isinstance(value, Url) else value

    def enter(self, url: Url, needs: Staged) -> Path:
        """Fetch what an argument needs; return the path that takes its place."""
        from dfdc_prep.storage.lease import lease
        from dfdc_prep.storage.mirror import mirrored

        is_file = not is_folder(url) or url.suffix in (".html", ".htm")
        for mirror, _ in self._mirrors:
            if is_file and mirror.url == url.parent:
                return mirror.folder / url.name
        mirror = self._stack.enter_context(mirrored(url.parent if is_file else url))
        if needs.alone:
            self._stack.enter_context(lease(mirror.place))
        self._mirrors.append((mirror, needs))
        if needs.pull is nothing:
            return mirror.folder / url.name if is_file else mirror.folder
        if is_file:
            mirror.pull([url.name])
            return mirror.folder / url.name
        needs.pull(mirror)
        return mirror.folder

    def result(self, function: Callable[[], R]) -> R:
        """Call the function, put what it wrote, and return its result with URLs."""
        try:
            returned = function()
        except (DfdcPrepError, KeyboardInterrupt) as error:
            for mirror, needs in self._mirrors:
                if needs.resumes:
                    mirror.push()
            error.args = tuple(self._text(str(each)) for each in error.args)
            raise
        self._push()
        shown: R = self._with_urls(returned)
        return shown

    def _push(self) -> None:
        for mirror, needs in self._mirrors:
            if needs.writes:
                mirror.push(needs.last)

    def _text(self, text: str) -> str:
        for mirror, _ in self._mirrors:
            text = text.replace(str(mirror.folder), str(mirror.url))
        return text

    def _with_urls(self, value: Any) -> Any:
        """Replace the paths of mirrors in a report."""
        if not is_dataclass(value) or isinstance(value, type):
            return value
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        paths = {name: self._url(old) for name, old in found.items() if isinstance(old, Path)}
        return replace(value, **paths) if paths else value

    def _url(self, path: Path) -> Location:
        for mirror, _ in self._mirrors:
            if path.is_relative_to(mirror.folder):
                below = path.relative_to(mirror.folder).as_posix()
                return mirror.url if below == "." else mirror.url / below
        return path


def _paths(table: Path) -> Iterable[str]:
    """Yield the paths of the crops and masks of a table; none if it is not a table of crops."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table.absolute()) as file:
            names = set(file.schema_arrow.names)
            found = file.read(columns=[name for name in ("path", "mask") if name in names])
    except (pa.ArrowException, OSError, ValueError):
        return  # the command says what is wrong with it
    columns: Mapping[str, Any] = found.to_pydict()
    yield from sorted({path for column in columns.values() for path in column if path})
