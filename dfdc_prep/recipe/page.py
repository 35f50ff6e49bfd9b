"""What a recipe says to a person who looks at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.progress import aligned
from dfdc_prep.recipe.file import BOXES, Recipe
from manifests.result import Result, TextTable
from manifests.wording import counted, data_size

#: What the recipe is of, for the first line.
_KINDS = {"faces": "face crops", "shards": "shards of face crops", "boxes": "published face boxes"}


@dataclass(frozen=True)
class RecipeReport(Result):
    """A recipe, by its header."""

    out: Path  # its file
    size: int  # bytes of it
    recipe: Recipe

    def rows(self) -> Iterator[tuple[str, str]]:
        """Names, and what is said of each."""
        header, options = self.recipe.header, self.recipe.crop_options
        counts, source = header["counts"], header["source"]
        yield "recipe", f"of {_KINDS[header['kind']]}, {self.size:,} bytes"
        yield "sha256", self.recipe.sha256
        yield "crops", f"{counts['crops']:,} of {counted(counts['clips'], 'clip')}"
        named = source["dataset"] or "a data set without a name"
        layout = f", read as {source['layout']}" if source["layout"] else ""
        level = f", compression {source['compression']}" if source["compression"] else ""
        size = f"; clips of {data_size(counts['bytes'])}" if counts["bytes"] else ""
        yield "source", f"{named}{layout}{level}{size}"
        by_label = {} if isinstance(options.frames, int) else options.frames
        frames = ", ".join(f"{n} of a {label} clip" for label, n in by_label.items())
        yield "frames", f"{frames or options.frames}, {options.sampling}; faces: {options.faces}"
        cut = f"{options.size}x{options.size} pixels, margin {options.margin:g}"
        yield "cut", f"{cut}, align {options.align}, {options.format}"
        if header["kind"] != BOXES:
            weights = header["detector"]["sha256"]
            known = f", weights {weights[:12]}" if weights else ""
            yield "boxes", f"detector {header['detector']['name']}{known}"
        if header["versions"]:
            yield "made by", ", ".join(f"{n} {v}" for n, v in header["versions"].items())
        files = [*header["tables"], *(f"SHARDS/{name}" for name in header["files"])]
        if files:
            yield "tables", ", ".join(files)
        yield from (("left out", each) for each in header["left_out"])
        for name, texts in header["card"].items():
            yield name, " ".join(texts)

    def text(self) -> str:
        return aligned(self.rows())

    def cells(self) -> TextTable:
        return TextTable(("", ""), list(self.rows()))

    def caption(self) -> str:
        return str(self.out)
