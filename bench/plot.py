"""Line plots as SVG text: small enough to need no library, plain enough to read in any browser.

They bring their own ground, so they read the same on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


__all__ = ["Line", "Panel", "svg"]

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 48
_COLORS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed")
_STYLE = "font-family:system-ui,sans-serif;font-size:12px;fill:#1f2328"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot; x is logarithmic, y begins at 0."""

    title: str
    x_name: str
    lines: Sequence[Line]


def svg(title: str, panels: Sequence[Panel], note: str = "") -> str:
    """Return panels side by side under a title, with a note below."""
    width, height = _WIDTH * len(panels), _HEIGHT + 52
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{_STYLE}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(16, 24, title, "start", "font-weight:600;font-size:15px"),
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * _WIDTH},26)">')
        parts += _panel(panel)
        parts.append("</g>")
    parts += [_text(16, height - 10, note, "start", "fill:#57606a;font-size:11px"), "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel) -> list[str]:
    xs = sorted({x for line in panel.lines for x, _ in line.points})
    top = _round_up(max(y for line in panel.lines for _, y in line.points))
    low, high = math.log10(xs[0]), math.log10(xs[-1])
    span = high - low or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / span * (_WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, 22, panel.title, "start", "font-weight:600")]
    for step in range(5):
        y = top * step / 4
        _, down = at(xs[0], y)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down:.1f}" y2="{down:.1f}"'
            ' stroke="#d8dee4"/>'
        )
        parts.append(_text(_LEFT - 6, down + 4, f"{y:,g}", "end"))
    parts += [_text(at(x, 0)[0], _HEIGHT - _BOTTOM + 16, f"{x:,g}", "middle") for x in xs]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - _BOTTOM + 34, panel.x_name, "middle"))
    for number, line in enumerate(panel.lines):
        parts += _line(line, [at(x, y) for x, y in line.points], number)
    return parts


def _line(line: Line, places: Sequence[tuple[float, float]], number: int) -> list[str]:
    color = _COLORS[number % len(_COLORS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
    last = len(places) - 1
    values = [
        _text(x, y - 8, _short(value), _anchor(i, last), f"fill:{color};font-size:11px")
        for i, ((x, y), (_, value)) in enumerate(zip(places, line.points, strict=True))
    ]
    name = _text(_WIDTH - _RIGHT - 36 * number, 22, line.name, "end", f"fill:{color}")
    return [
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>',
        *dots,
        *values,
        name,
    ]


def _anchor(number: int, last: int) -> str:
    """Return where a value stands: those at the edges must not lie on the axis, or beyond."""
    return {0: "start", last: "end"}.get(number, "middle")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4 or 8 times a power of ten, so that quarters are round."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 4, 8, 10, 20) if step * power >= value)
