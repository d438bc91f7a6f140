"""Two kinds of pictures in SVG: bars of speeds, and a curve on two logarithmic scales."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 760
_LABEL_WIDTH = 300
_BAR_HEIGHT = 22
_BAR_STEP = 34
_TOP = 48
_HEIGHT = 380
_MARGIN = 70
_OURS = "#1f6f5c"
_THEIRS = "#9aa5a1"
_INK = "#222222"
_LOOK = f'font-family="sans-serif" font-size="12" fill="{_INK}" role="img"'


@dataclass(frozen=True)
class Bar:
    """A contestant, and its value in each round."""

    label: str
    values: Sequence[float]
    is_ours: bool = False


def bars(title: str, shown: Sequence[Bar]) -> str:
    """Return horizontal bars of medians, each with a line from minimum to maximum."""
    most = max(max(bar.values) for bar in shown)
    scale = (_WIDTH - _LABEL_WIDTH - 90) / most
    parts = []
    for number, bar in enumerate(shown):
        y = _TOP + number * _BAR_STEP
        middle = statistics.median(bar.values)
        color = _OURS if bar.is_ours else _THEIRS
        parts += [
            _words(_LABEL_WIDTH - 8, y + 15, _short(bar.label), "end"),
            _box(_LABEL_WIDTH, y, max(1, middle * scale), _BAR_HEIGHT, color),
            _stroke(
                (_LABEL_WIDTH + min(bar.values) * scale, y + _BAR_HEIGHT / 2),
                (_LABEL_WIDTH + max(bar.values) * scale, y + _BAR_HEIGHT / 2),
            ),
            _words(_LABEL_WIDTH + max(bar.values) * scale + 6, y + 15, f"{middle:,.0f}"),
        ]
    return _picture(title, _TOP + len(shown) * _BAR_STEP + 10, parts)


def curve(title: str, points: Sequence[tuple[int, Sequence[float]]]) -> str:
    """Return medians by size, both on logarithmic scales, each with minimum and maximum."""
    sizes = [math.log10(size) for size, _ in points]
    low = math.floor(min(math.log10(min(values)) for _, values in points))
    high = math.ceil(max(math.log10(max(values)) for _, values in points))

    def x(size: float) -> float:
        wide = _WIDTH - 2 * _MARGIN
        return _MARGIN + (math.log10(size) - sizes[0]) / (sizes[-1] - sizes[0]) * wide

    def y(value: float) -> float:
        tall = _HEIGHT - _TOP - _MARGIN
        return _TOP + (high - math.log10(value)) / (high - low) * tall

    parts = [
        part
        for exponent in range(low, high + 1)
        for part in (
            _stroke((_MARGIN, y(10**exponent)), (_WIDTH - _MARGIN, y(10**exponent)), "#dddddd"),
            _words(_MARGIN - 8, y(10**exponent) + 4, _round(10.0**exponent), "end"),
        )
    ]
    line = " ".join(f"{x(size):.1f},{y(statistics.median(values)):.1f}" for size, values in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_OURS}" stroke-width="2"/>')
    for size, values in points:
        middle = statistics.median(values)
        parts += [
            _stroke((x(size), y(max(values))), (x(size), y(min(values)))),
            f'<circle cx="{x(size):.1f}" cy="{y(middle):.1f}" r="4" fill="{_OURS}"/>',
            _words(x(size), y(max(values)) - 10, f"{middle:,.0f}" if middle >= 1 else "", "middle"),
            _words(x(size), _HEIGHT - _MARGIN + 24, f"{size:,}", "middle"),
        ]
    return _picture(title, _HEIGHT - 20, parts)


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _short(label: str) -> str:
    return label.replace("`", "").split(" (")[0]


def _words(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{color}"/>'


def _stroke(begin: tuple[float, float], end: tuple[float, float], color: str = _INK) -> str:
    (x1, y1), (x2, y2) = begin, end
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{color}"/>'


def _picture(title: str, height: float, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" {_LOOK}>',
            f"<title>{escape(title)}</title>",
            _box(0, 0, _WIDTH, height, "#ffffff"),
            f'<text x="16" y="26" font-size="15" font-weight="bold">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
