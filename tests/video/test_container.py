"""Only known containers and codecs are opened, and nothing that a file refers to."""

import re
import socket
from pathlib import Path

import av
import numpy as np
import pytest

from dfdc_prep.errors import ClipError
from dfdc_prep.video.reader import open_clip
from tests.encoded import Recipe, encode
from tests.video.shapes import Track, noise, shown, write

ROOT = Path(__file__).resolve().parents[2]

#: Texts that FFmpeg recognizes by their content, whatever the file is called.
TEXTS = {
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n",
    "HLS key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/k"\n'
    "#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="1"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "concat": "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
    "RTSP": "RTSPtextrtsp://127.0.0.1:{port}/a\n",
    "reference": "[Reference]\nRef1=http://127.0.0.1:{port}/a.asf\n",
    "ffmetadata": ";FFMETADATA1\ntitle=http://127.0.0.1:{port}/\n",
    "SubRip": "1\n00:00:00,000 --> 00:00:01,000\nhttp://127.0.0.1:{port}/\n",
    "WebVTT": "WEBVTT\n\n00:00.000 --> 00:01.000\nhttp://127.0.0.1:{port}/\n",
    "SAMI": "<SAMI><BODY><SYNC Start=0><P>http://127.0.0.1:{port}/</P></SYNC></BODY></SAMI>",
    "SVG": '<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:{port}/"/></svg>',
    "VobSub": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_opens_no_socket_and_no_file(tmp_path: Path, name: str, suffix: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        path = tmp_path / f"clip{suffix}"
        path.write_text(TEXTS[name].format(port=server.getsockname()[1]))
        with pytest.raises(ClipError, match=r"expected MP4, MOV, .* in clip"), open_clip(path):
            pass
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "codec", ["magicyuv", "utvideo", "cinepak", "qtrle", "zmbv", "flashsv", "snow", "msvideo1"]
)
def test_a_codec_that_nobodys_clips_have_is_named_and_refused(tmp_path: Path, codec: str) -> None:
    pixels = {"magicyuv": "gbrp", "utvideo": "gbrp", "cinepak": "rgb24", "qtrle": "rgb24"}
    pixels |= {"zmbv": "bgr0", "flashsv": "bgr24", "msvideo1": "rgb555le"}
    suffix = "mov" if codec == "qtrle" else "avi"
    track = Track([shown()] * 12, codec, pixels=pixels.get(codec, "yuv420p"))
    try:
        path = write(tmp_path / f"a b.{suffix}", track)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"no encoder: {error}")
    refused = pytest.raises(ClipError, match=f"found the codec {codec}; .*ffmpeg -i 'a b")
    with refused, open_clip(path):
        pass


@pytest.mark.parametrize("suffix", ["nut", "mxf", "y4m"])
def test_a_container_that_nobodys_clips_have_is_refused(tmp_path: Path, suffix: str) -> None:
    codec = {"nut": "mpeg4", "mxf": "mpeg2video", "y4m": "wrapped_avframe"}[suffix]
    path = write(tmp_path / f"a.{suffix}", Track([shown()] * 3, codec))
    refused = pytest.raises(ClipError, match=r"found (NUT|MXF|raw video).*ffmpeg -i a\.")
    with refused, open_clip(path):
        pass


def test_a_reference_to_another_file_is_not_followed(tmp_path: Path) -> None:
    """An alias in the data reference box of a MOV (QuickTime File Format, dref)."""
    write(tmp_path / "media.mov", Track(noise(12)))
    clip = (tmp_path / "media.mov").read_bytes()
    where = str(tmp_path / "media.mov").encode()
    alias = bytes(150) + (18).to_bytes(2, "big") + len(where).to_bytes(2, "big") + where
    entry = (12 + len(alias)).to_bytes(4, "big") + b"alis" + bytes(4) + alias
    at = clip.index(b"dref")
    old = int.from_bytes(clip[at - 4 : at], "big")
    grown = len(entry) + 16 - old
    data = bytearray(clip[: at - 4] + (16 + len(entry)).to_bytes(4, "big"))
    data += b"dref" + bytes(4) + (1).to_bytes(4, "big") + entry + clip[at - 4 + old :]
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = bytes(data).index(box) - 4
        size = int.from_bytes(data[place : place + 4], "big") + grown
        data[place : place + 4] = size.to_bytes(4, "big")
    media = bytes(data).index(b"mdat") + 4
    data[media : media + 4096] = bytes(4096)  # what decodes can come from elsewhere only
    (tmp_path / "clip.mov").write_bytes(data)
    with open_clip(tmp_path / "clip.mov") as video:
        assert [frame.index for frame in video.frames([0])] == []


def test_a_subtitle_in_an_avi_that_is_a_playlist_is_not_opened(tmp_path: Path) -> None:
    """The demuxer of AVI opens a stream GAB2 as a file of its own."""
    path = encode(tmp_path / "a", Recipe("mpeg4", suffix="avi", frames=12))
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n\n"
    gab2 = b"GAB2\0\2\0" + bytes(4) + b"\4\0" + len(playlist).to_bytes(4, "little") + playlist
    header = (
        b"strh" + (56).to_bytes(4, "little") + b"txts" + bytes(16) + b"\1\0\0\0\x19" + bytes(31)
    )
    stream = b"strl" + header + b"strf" + bytes(4)
    clip = bytearray(path.read_bytes())
    _insert(clip, b"LIST" + len(stream).to_bytes(4, "little") + stream, b"strl")
    _insert(clip, b"01tx" + len(gab2).to_bytes(4, "little") + gab2, b"movi")
    at = clip.index(b"avih") + 8 + 24
    clip[at : at + 4] = (2).to_bytes(4, "little")
    path.write_bytes(clip)
    with av.open(str(path)) as both:
        assert [stream.type for stream in both.streams] == ["video", "subtitle"]
    with open_clip(path) as video:
        assert len(list(video.frames(range(12)))) == 12


def _insert(clip: bytearray, chunk: bytes, after: bytes) -> None:
    """Insert a chunk at the end of a list of an AVI, or after it if that is `strl`."""
    place = clip.index(after) - 4
    end = place + 4 + int.from_bytes(clip[place : place + 4], "little")
    clip[end:end] = chunk
    lists = (clip.index(b"AVI "), clip.index(b"hdrl") if after == b"strl" else place + 4)
    for name in lists:
        size = int.from_bytes(clip[name - 4 : name], "little") + len(chunk)
        clip[name - 4 : name] = size.to_bytes(4, "little")


def test_a_title_that_is_no_valid_text_does_not_matter(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        out.metadata["title"] = "Zuerich"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(shown())))
        out.mux(stream.encode(None))
    clip = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(clip.replace(b"Zuerich", b"Z\xfcrich."))
    with open_clip(tmp_path / "a.mkv") as video:
        assert video.timeline.count == 1


def test_attachments_and_metadata_of_a_matroska_are_not_opened(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        out.add_attachment("font.ttf", "application/x-truetype-font", b"\0\1\0\0" * 40)
        out.metadata["title"] = "http://127.0.0.1/"
        for image in [shown()] * 3:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        out.mux(stream.encode(None))
    with open_clip(tmp_path / "a.mkv") as video:
        assert len(list(video.frames(range(3)))) == 3


def product_code() -> dict[str, str]:
    files = [ROOT / "cli.py"]
    for package in ("dfdc_prep", "manifests", "training"):
        files += (ROOT / package).rglob("*.py")
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}


@pytest.mark.parametrize(
    ("calls", "allowed"),
    [
        (r"\bImage\.open\(|\bPillow\.open\(|\bimageio\b", {"manifests/pictures/images.py"}),
        (r"\bav\.open\((?!.*\"w\")", {"dfdc_prep/video/container.py"}),
        (r"VideoCapture|\bVideoReader\b", set()),
        # The portrait is one of matplotlib's files.
        (r"\.imread\(", {"dfdc_prep/sample/face_swap.py"}),
        (r"\.imdecode\(", {"dfdc_prep/crops/encoding.py"}),
        (r"\bread_file\(.*image|keras\.utils\.load_img|tf\.io\.decode_(?!png|image)", set()),
    ],
)  # fmt: skip
def test_files_are_opened_in_one_place(calls: str, allowed: set[str]) -> None:
    assert {name for name, text in product_code().items() if re.search(calls, text)} == allowed


def test_the_containers_and_codecs_are_those_of_the_documentation() -> None:
    from dfdc_prep.video.container import CODECS, CONTAINERS

    text = (ROOT / "docs" / "extract.md").read_text()
    section = text[text.index("## Containers and codecs") :].split("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9]+)`", section))
    assert named >= CODECS
    assert all(part in section for known in CONTAINERS.values() for part in known.names.split(", "))
    assert np.all([codec in av.codecs_available for codec in CODECS])
