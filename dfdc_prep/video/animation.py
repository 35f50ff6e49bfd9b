"""Reads animated GIF, WebP and PNG files, and folders of frames, as clips."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Frame
from dfdc_prep.video.source_file import SourceFile, frame_names, unreachable_error
from dfdc_prep.video.timeline import Timeline
from manifests.pictures.images import ANIMATED, ImageError, open_image, reading, to_rgb


class Animation:
    """An open animation, with the attributes and methods of `reader.Video`.

    Raises:
        ClipError: it is damaged, or too large.
    """

    stream = None

    def __init__(self, file: SourceFile, name: str) -> None:
        file.seek(0)
        try:
            self._image: Any = open_image(file, ANIMATED)
            with reading():
                self.timeline = Timeline(getattr(self._image, "n_frames", 1))
        except (ImageError, OSError) as error:
            raise ClipError(f"expected an animation in {name}, found {error}") from error
        self.shortfall = _missing_end(file)

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return int(self._image.width * self._image.height)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last; all frames are read for it."""
        return sum(self._seconds(index) for index in range(self.timeline.count - 1))

    def close(self) -> None:
        """Free the picture, but do not close the file."""
        self._image.close()

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Decode the frames at these positions; a damaged file yields those before the damage."""
        wanted = {i for i in indices if 0 <= i < self.timeline.count}
        time_s = 0.0
        with suppress(ImageError):
            for index in range(max(wanted, default=-1) + 1):
                seconds = self._seconds(index)
                if index in wanted:
                    rgb = to_rgb(self._image)
                    yield Frame(index, time_s, av.VideoFrame.from_ndarray(rgb, format="rgb24"))
                time_s += seconds

    def _seconds(self, index: int) -> float:
        """Go to a frame; return for how long it is shown."""
        with reading():
            self._image.seek(index)
            self._image.load()
        duration = self._image.info.get("duration", 0)
        return float(duration) / 1000 if isinstance(duration, int | float) else 0.0


class FrameFolder:
    """A folder of frames, with the attributes and methods of `reader.Video`.

    A frame's index is its position in the folder; the times of the frames are not known.

    Raises:
        ClipError: it has no frame, or the first one is no picture.
        SourceUnreachable: it cannot be read.
    """

    shortfall = stream = None
    duration_s = 0.0

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / name for name in frame_names(folder)]
        self.timeline = Timeline(len(self._paths))
        if not self._paths:
            raise ClipError(f"expected frames in the folder {folder.name}, found no picture")
        try:
            with open_image(self._paths[0]) as image:
                self.pixels = int(image.width * image.height)
        except ImageError as error:
            raise ClipError(f"expected frames in {folder.name}, found {error}") from error
        except OSError as error:
            raise unreachable_error(self._paths[0], error) from error

    def close(self) -> None:
        """Nothing is open."""

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Decode the frames at these positions; a damaged picture is left out."""
        for index in sorted({i for i in indices if 0 <= i < self.timeline.count}):
            try:
                with open_image(self._paths[index]) as image:
                    rgb = to_rgb(image)
            except ImageError:
                continue
            except OSError as error:
                raise unreachable_error(self._paths[index], error) from error
            yield Frame(index, None, av.VideoFrame.from_ndarray(rgb, format="rgb24"))


def _missing_end(file: SourceFile) -> str | None:
    """What the end of the file lacks: a GIF ends with a semicolon, a WebP says how long it is."""
    size, start = file.size, file.read_at(0, 12)
    if start.startswith(b"GIF"):
        end = file.read_at(max(0, size - 64), 64).rstrip(b"\0")
        return None if end.endswith(b";") else "the file ends before the end of the GIF"
    promised = int.from_bytes(start[4:8], "little") + 8
    if start.startswith(b"RIFF") and promised > size:
        return f"the file ends after {size:,} of {promised:,} bytes"
    return None
