"""The losses of a run as a picture: time over torch's cross-entropy for each shape and dtype, and peak memory.

One SVG a device, drawn by matplotlib. The colours are named in a style sheet at its head that follows the reader's
light or dark scheme; text stays text.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from polyref.bench.goals import COPY, CROSS_ENTROPY
from polyref.bench.goals import OURS as PREFIX
from polyref.bench.losses import COMPILED, SECTIONS
from polyref.bench.table import busy, figure
from polyref.errors import UsageError

Group = dict[str, Any]


@dataclass(frozen=True)
class Ink:
    """A colour by its name in the style sheet: what stands for it while drawing, and what it is in either scheme."""

    name: str
    drawn: str
    light: str
    dark: str


PAPER = Ink("paper", "#010101", "#ffffff", "#16181d")
TEXT = Ink("text", "#020202", "#1d2026", "#e6e8ec")
SOFT = Ink("soft", "#030303", "#5f6672", "#9aa2ae")
GRID = Ink("grid", "#040404", "#e1e4e9", "#2d323b")
OURS = Ink("ours", "#050505", "#0067a8", "#56b4e9")
THEIRS = Ink("theirs", "#060606", "#c14f00", "#f0883e")
FASTER = Ink("faster", "#070707", "#96457a", "#dd8fbe")
LIMIT = Ink("limit", "#080808", "#5f6672", "#9aa2ae")
INKS = (PAPER, TEXT, SOFT, GRID, OURS, THEIRS, FASTER, LIMIT)

_ORDER = (OURS, THEIRS, FASTER, LIMIT)
_MARKS = {OURS.name: "o", THEIRS.name: "s", FASTER.name: "D", LIMIT.name: "|"}
_FONT = "DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif"


def pictures(data: dict[str, Any]) -> dict[str, bytes]:
    """An SVG for each device whose losses were measured, by the end of its file's name."""
    found = {}
    for device, section in SECTIONS.items():
        groups = [group for group in data["groups"] if group["section"] == section]
        if groups:
            found[".svg" if device == "cpu" else f"-{device}.svg"] = _in_both_schemes(draw(data, groups, device))
    return found


def check_drawable() -> None:
    """Find out early whether there is something to draw with.

    Raises:
        UsageError: if there is not.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("the pictures of a document need matplotlib, which is not installed: pip install matplotlib")


def draw(data: dict[str, Any], groups: Sequence[Group], device: str) -> str:
    """The picture with stand-ins for its colours: a row a dtype, a column a shape, and a row for memory."""
    # Only a run that writes a document should have to wait for them.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    shapes = list(dict.fromkeys(group["title"].partition(" ")[0] for group in groups))
    dtypes = list(dict.fromkeys(group["title"].partition(" ")[2] for group in groups))
    by_place = {tuple(group["title"].split(" ", 1)): group for group in groups}
    # Ours on top, the limit at the bottom.
    names = sorted({n: 0 for group in groups for n in group["times"]}, key=lambda name: _ORDER.index(ink_of(name)))
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "polyref-bench",
        "font.family": "sans-serif",
        "font.size": 8.5,
        "text.color": TEXT.drawn,
        "axes.labelcolor": TEXT.drawn,
        "axes.edgecolor": GRID.drawn,
        "axes.facecolor": PAPER.drawn,
        "figure.facecolor": PAPER.drawn,
        "xtick.color": SOFT.drawn,
        "ytick.color": TEXT.drawn,
        "grid.color": GRID.drawn,
    }
    with mpl.rc_context(style):
        sheet = Figure(figsize=(11.5, 2.6 + 0.19 * len(names) * (len(dtypes) + 1)), layout="constrained")
        axes = sheet.subplots(len(dtypes) + 1, len(shapes), sharey=True, squeeze=False)
        times = [r for group in groups for r in group["ratios"] if r["to"] == CROSS_ENTROPY]
        lowest, highest = min(r["low"] for r in times), max(r["high"] for r in times)
        # The figures stand at the right of every panel, beyond the last mark.
        room = (highest / lowest) ** 0.22
        for row, dtype in enumerate(dtypes):
            for column, shape in enumerate(shapes):
                _times(axes[row][column], by_place[shape, dtype], names)
                axes[row][column].set_xlim(lowest / 1.4, highest * 1.4 * room)
            axes[row][0].set_ylabel(f"{dtype}\ntime / F.cross_entropy")
        for column, shape in enumerate(shapes):
            axes[0][column].set_title(by_place[shape, dtypes[0]]["legend"], fontsize=9.5)
            _memory(axes[-1][column], [by_place[shape, dtype] for dtype in dtypes], names)
        axes[-1][0].set_ylabel(f"memory / logits\n● {dtypes[0]}" + "".join(f"  ○ {d}" for d in dtypes[1:]))
        sheet.suptitle(_title(data, device), x=0.01, ha="left", fontsize=11)
        sheet.supxlabel(_caption(data, groups), x=0.01, ha="left", fontsize=8, color=SOFT.drawn)
        out = io.StringIO()
        sheet.savefig(out, format="svg", metadata={"Date": None, "Title": _title(data, device)})
    return out.getvalue()


def _times(ax: Any, group: Group, names: Sequence[str]) -> None:
    """A mark at the median, a line over the quartiles, the median in figures, and a bar at the goal."""
    ratios = {r["of"]: r for r in group["ratios"] if r["to"] == CROSS_ENTROPY}
    ratios[CROSS_ENTROPY] = {"low": 1.0, "median": 1.0, "high": 1.0}
    goals = {g["of"]: g for g in group["goals"] if g["quantity"] == "time" and g["to"] == CROSS_ENTROPY}
    _lines(ax, names)
    ax.set_xscale("log")
    ax.axvline(1.0, color=SOFT.drawn, linewidth=0.8)
    for y, name in enumerate(names):
        if name not in ratios:
            continue
        r, ink = ratios[name], ink_of(name)
        ax.plot([r["low"], r["high"]], [y, y], color=ink.drawn, linewidth=2, solid_capstyle="butt")
        ax.plot([r["median"]], [y], marker=_MARKS[ink.name], color=ink.drawn, markersize=5, markeredgewidth=2)
        ax.annotate(figure(r["median"]), (1, y), xycoords=("axes fraction", "data"), xytext=(-3, 0),
                    textcoords="offset points", ha="right", va="center", fontsize=7.5, color=ink.drawn)  # fmt: skip
        if name in goals:
            limit = goals[name]["limit"]
            ax.plot([limit, limit], [y - 0.42, y + 0.42], color=TEXT.drawn, linewidth=1.4)
    ax.set_xticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    ax.minorticks_off()


def _memory(ax: Any, groups: Sequence[Group], names: Sequence[str]) -> None:
    """A mark for each dtype, the first one filled."""
    _lines(ax, names)
    for number, group in enumerate(groups):
        for name, value in group["peak_memory_over_logits"].items():
            ink = ink_of(name)
            face = ink.drawn if number == 0 else "none"
            ax.plot([value], [names.index(name)], marker="o", color=ink.drawn, markerfacecolor=face,
                    markersize=4.5 if number == 0 else 7, linestyle="none", clip_on=False)  # fmt: skip
    ax.set_xlim(left=-0.3)
    ax.axvline(1.0, color=SOFT.drawn, linewidth=0.8)


def _lines(ax: Any, names: Sequence[str]) -> None:
    """What all panels have: a line a contender, the first on top, and no frame."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="both", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def ink_of(name: str) -> Ink:
    """Ours, other people's, theirs compiled, or a copy."""
    if name.startswith(PREFIX):
        return OURS
    if name.endswith(COMPILED):
        return FASTER
    return LIMIT if name.endswith(COPY) else THEIRS


def _title(data: dict[str, Any], device: str) -> str:
    machine = data["machine"]
    if device == "cuda":
        return f"Poly-1, forward and backward on {machine['cuda']['name']}, torch {machine['versions']['torch']}"
    return (
        f"Poly-1, forward and backward on {machine['cpu']}, threads: {machine['threads']}, "
        f"torch {machine['versions']['torch']}"
    )


def _caption(data: dict[str, Any], groups: Sequence[Group]) -> str:
    rounds = [group["rounds"] for group in groups]
    return (
        f"Median of {min(rounds)} to {max(rounds)} interleaved rounds, line: quartiles, bar: goal. "
        f"{data['date'][:10]}, {data['machine']['allocator'].partition(',')[0]}; {busy(groups)}."
        + (" A quick run: no figure to state." if data["quick"] else "")
    )


def _in_both_schemes(svg: str) -> bytes:
    """The stand-ins become names in a style sheet."""
    for ink in INKS:
        svg = svg.replace(ink.drawn, f"var(--{ink.name})")
    light = " ".join(f"--{ink.name}: {ink.light};" for ink in INKS)
    dark = " ".join(f"--{ink.name}: {ink.dark};" for ink in INKS)
    sheet = (
        f"<style>svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }} "
        f"text {{ font-family: {_FONT} !important; }}</style>"
    )
    head, tag, rest = svg.partition("<defs>")
    return (head + sheet + tag + rest).encode()
