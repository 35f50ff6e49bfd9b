"""Charts as inline SVG, drawn by matplotlib in colours that follow the page's.

Lines and text of the axes take the page's text colour, so that a chart suits a light and a dark
page. Equal data give equal bytes. Text stays text and is never parsed as a formula, since it may
be a file name.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from dfdc_prep.reports.page import short_number, shown
from manifests.labels import FAKE, NO_LABEL, REAL

Floats = npt.NDArray[np.float64]

#: Readable on a white and on a nearly black page.
COLOURS = {REAL: "#2f7fc1", FAKE: "#c8641a"}
NEUTRAL = "#8a8f98"
#: Colour and style of each line of a chart.
_LINES = tuple(product(("-", "--", ":"), (*COLOURS.values(), "#2d9a5b", NEUTRAL)))
#: Most lines of a chart.
MOST_LINES = len(_LINES)
#: Drawn in place of the page's text colour, and replaced by `currentColor` in the SVG.
_TEXT = "#010203"
#: Width and height of a chart in points.
_SIZE = (360, 216)
_BINS = 30  # of a histogram, at most

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 7),
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _TEXT,
    "grid.alpha": 0.15,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw(paint: Callable[[Any], None], name: str, size: tuple[float, float] = _SIZE) -> Markup:
    """Draw a chart as an `<svg>` element without a fixed size.

    Args:
        paint: called with a matplotlib Axes.
        name: distinguishes the chart from the others of a page, whose SVGs share one document.
        size: width and height, points.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    # Make a stand-alone SVG part of a page: one element, no sizes, no ids that repeat.
    opening = re.compile(r'^.*?<svg [^>]*?(viewBox="[^"]*")[^>]*>', re.DOTALL)
    svg = opening.sub(r'<svg \1 aria-hidden="true">', file.getvalue(), count=1)
    svg = re.sub(r"<(metadata|style)\b[^>]*>.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    referenced = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in referenced else "", svg)
    svg = svg.replace("xlink:href", "href").replace(_TEXT, "currentColor")
    return Markup(re.sub(r">\s+<", "><", svg).strip())


def histogram(
    values: Mapping[str, Floats], name: str, label: str, limits: tuple[float, float] | None = None
) -> Markup:
    """Draw distributions on top of each other, each as the share of its own values.

    Args:
        values: float64 [n] for each series, finite; an empty series is left out.
        label: of the horizontal axis, with its unit.
        limits: of the horizontal axis; None for those of nearly all values.
    """
    series = {key: each for key, each in values.items() if len(each)}
    everything = np.concatenate(list(series.values())) if series else np.zeros(1)
    # A few outliers must not squeeze the rest into one bar: they are counted in the outer bars.
    low, high = limits or np.quantile(everything, [0.002, 0.998])
    if low == high:
        low, high = low - 0.5, high + 0.5
    most = max(map(len, series.values()), default=0)
    edges = np.linspace(low, high, min(_BINS, max(10, most // 2)) + 1)

    def paint(axis: Any) -> None:
        for key, each in series.items():
            counts = np.histogram(np.clip(each, low, high), edges)[0] / len(each)
            colour = COLOURS.get(key, NEUTRAL)
            axis.stairs(counts, edges, fill=True, alpha=0.35, color=colour)
            axis.stairs(counts, edges, color=colour, lw=1.6, label=f"{key} ({len(each):,})")
        axis.set(xlabel=label, ylabel="share", ylim=(0, None), xlim=(low, high))
        axis.margins(x=0)
        axis.xaxis.set_major_locator(_ticks(6))
        axis.xaxis.set_major_formatter(_grouped)
        if series:
            axis.legend()

    return draw(paint, name)


def medians(values: Mapping[str, Floats]) -> dict[str, str]:
    """The median of each series, float64 [n], as text; an empty series is left out."""
    return {
        name: short_number(float(np.median(each))) for name, each in values.items() if len(each)
    }


def bars(
    groups: Sequence[str], series: Mapping[str, Sequence[int]], name: str, label: str
) -> Markup:
    """Draw counts as horizontal bars, one group under the other, with the count beside each bar.

    Args:
        groups: names of the groups, from top to bottom.
        series: for each series its count in every group.
        label: of the horizontal axis, which has ticks at whole numbers only.
    """
    height = 0.8 / max(len(series), 1)
    rows = len(groups) * max(len(series), 1)
    size = (_SIZE[0], 55 + 20 * max(rows, 2))

    def paint(axis: Any) -> None:
        axis.grid(axis="y", visible=False)
        for index, (key, values) in enumerate(series.items()):
            at = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * height
            colour = COLOURS.get(key, NEUTRAL if key == NO_LABEL else COLOURS[REAL])
            drawn = axis.barh(at, list(values), height * 0.92, color=colour, label=key)
            axis.bar_label(drawn, [shown(value) for value in values], fontsize=8.5, padding=3)
        axis.set(yticks=range(len(groups)), xlabel=label)
        axis.set_yticklabels([g if len(g) <= 22 else f"{g[:12]}…{g[-9:]}" for g in groups])
        axis.xaxis.set_major_locator(_ticks(4, integer=True))
        axis.xaxis.set_major_formatter(_grouped)
        axis.invert_yaxis()
        axis.margins(x=0.16)
        if len(series) > 1:
            axis.figure.legend(loc="outside upper center", ncols=len(series))

    return draw(paint, name, size)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], name: str, **axes: Any
) -> Markup:
    """Draw lines with a marker at each point.

    Args:
        series: for each line its horizontal and vertical values; at most MOST_LINES.
        axes: properties of the matplotlib Axes, such as xlabel and ylim; `diagonal=True` adds
            the line of equal values, `mark=x` a vertical line at x, `whole=True` puts ticks at
            whole numbers only.
    """
    diagonal, mark, whole = (axes.pop(each, None) for each in ("diagonal", "mark", "whole"))

    def paint(axis: Any) -> None:
        for (style, colour), (key, (across, up)) in zip(_LINES, series.items(), strict=False):
            marker = "o" if len(across) <= 60 else ""
            axis.plot(across, up, style, color=colour, lw=1.8, marker=marker, ms=3.5, label=key)
        if diagonal:
            axis.plot([0, 1], [0, 1], color=NEUTRAL, lw=1, ls="--")
        if mark is not None:
            axis.axvline(mark, color=NEUTRAL, lw=1, ls="--")
        if whole:
            axis.xaxis.set_major_locator(_ticks(8, integer=True))
        axis.set(**axes)
        axis.legend()

    return draw(paint, name)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], name: str) -> Markup:
    """Draw a confusion matrix: counts [n][n], rows are the true classes, and shares of these."""
    values = np.asarray(counts, np.float64)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)

    def paint(axis: Any) -> None:
        axis.grid(visible=False)
        axis.imshow(np.ones_like(shares), cmap="Blues", alpha=shares * 0.75, vmin=0, vmax=1.4)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{int(values[row, column]):,}\n{share:.1%}"
            axis.text(column, row, text, ha="center", va="center", fontsize=12)
        ticks = range(len(names))
        axis.set(xticks=ticks, yticks=ticks, xlabel="predicted", ylabel="true", aspect="auto")
        axis.set_xticklabels(names)
        axis.set_yticklabels(names)

    return draw(paint, name)


def _grouped(value: float, _: int) -> str:
    """The text of a tick, with thousands separated and without digits of rounding errors."""
    return f"{value:,.10g}"


def _ticks(most: int, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, integer=integer, min_n_ticks=1)
