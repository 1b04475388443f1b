"""Line charts as SVG, drawn by hand: a report needs nothing from elsewhere (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import NamedTuple


__all__ = ["Chart", "nice_top", "to_svg"]

Points = Sequence[tuple[int, float]]

_WIDTH, _HEIGHT = 560, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 22
_LINES_Y, _LINES_X = 4, 8
_COLOURS = 5
_LIMIT_IN_SIGHT = 4
"""A limit is drawn if it is at most so many times what came: else it would press the lines flat."""

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Chart(NamedTuple):
    """A chart.

    Args:
        title: with the unit.
        lines: name -> points.
        marks: names of moments -> second.
        last: where the axis of time ends; it begins with 0, so charts of one run stand below each other.
        limits: names of lines -> the value that each is not to exceed.
    """

    title: str
    lines: Mapping[str, Points]
    marks: Mapping[str, float]
    last: float
    limits: Mapping[str, float] = MappingProxyType({})


class _Scale(NamedTuple):
    last: float
    top: float

    def x(self, at: float) -> float:
        """Return where a second is."""
        return _LEFT + at / max(1.0, self.last) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return _TOP + (1 - min(value, self.top) / self.top) * (_HEIGHT - _TOP - _BOTTOM)


def nice_top(value: float) -> float:
    """Return the next number above that divides well into four."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value / _LINES_Y))
    return (
        _LINES_Y * power * next(step for step in _STEPS if step * power * _LINES_Y >= value * 0.999)
    )


def to_svg(chart: Chart) -> str:
    """Return the chart as one SVG element; empty if there is nothing to draw."""
    lines = {name: points for name, points in chart.lines.items() if points}
    if not lines:
        return ""
    highest = max(value for points in lines.values() for _, value in points)
    limits = {
        name: value
        for name, value in chart.limits.items()
        if name in lines and value <= highest * _LIMIT_IN_SIGHT
    }
    scale = _Scale(chart.last, nice_top(max(highest, *limits.values(), 0.0)))
    parts = [*_grid(scale), *_moments(chart.marks, scale), *_limits(limits, scale)]
    for number, points in enumerate(lines.values()):
        parts.append(_line(points, scale, number % _COLOURS))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
        f"{''.join(parts)}</svg>"
    )


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for step in range(_LINES_Y + 1):
        value = scale.top * step / _LINES_Y
        y = scale.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    step_s = max(1, math.ceil(scale.last / _LINES_X))
    for at in range(0, int(scale.last) + 1, step_s):
        x = scale.x(at)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{at} s</text>')
    return parts


def _moments(marks: Mapping[str, float], scale: _Scale) -> list[str]:
    return [
        f'<line class="mark" x1="{scale.x(at):.1f}" x2="{scale.x(at):.1f}" y1="{_TOP}" '
        f'y2="{_HEIGHT - _BOTTOM}"><title>{escape(name)}</title></line>'
        for name, at in marks.items()
        if 0 <= at <= scale.last
    ]


def _limits(limits: Mapping[str, float], scale: _Scale) -> list[str]:
    return [
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{scale.y(value):.1f}" '
        f'y2="{scale.y(value):.1f}"><title>{escape(name)} at most {_short(value)}</title></line>'
        for name, value in limits.items()
    ]


def _line(points: Points, scale: _Scale, colour: int) -> str:
    if len(points) == 1:
        at, value = points[0]
        return f'<circle class="c{colour}" cx="{scale.x(at):.1f}" cy="{scale.y(value):.1f}" r="3"/>'
    path = " ".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in points)
    return f'<polyline class="c{colour}" points="{path}"/>'


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}"
