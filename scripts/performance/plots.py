"""Plots as SVG text: panels side by side, a logarithmic axis to the right, a linear one from zero upwards."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 62, 48
MEASURED, EXPECTED, GRID, TEXT = "#1f5fa8", "#b3541e", "#e4e4e4", "#222222"


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    title: str
    x_label: str
    y_label: str
    measured: tuple  # Points by rising x
    expected: tuple  # (x, y) pairs by rising x


def nice_step(top, steps=5):
    """The smallest of 1, 2, 2.5 and 5 times a power of ten of which `steps` reach `top`."""
    power = 10 ** math.floor(math.log10(top / steps))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * steps >= top * (1 - 1e-9))


def number(value):
    """16384 as 16k, 0.5 as 0.5."""
    if value >= 1024 and value % 1024 == 0:
        return f"{value // 1024:.0f}k"
    return f"{value:g}"


def svg(panels):
    """One picture, with its own white ground, so that it can be read on a dark page too."""
    width = WIDTH * len(panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
             f'height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
             f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>']
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index * WIDTH} 0)">')
        parts += draw(panel)
        parts.append("</g>")
    return "\n".join(parts + ["</svg>"]) + "\n"


def draw(panel):
    xs = sorted({point.x for point in panel.measured})
    top = 1.05 * max([point.high for point in panel.measured] + [y for _, y in panel.expected])
    step = nice_step(top)
    top = step * math.ceil(top / step - 1e-9)
    first, last = math.log2(xs[0]), math.log2(xs[-1])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def px(x):
        share = 0.5 if last == first else (math.log2(x) - first) / (last - first)
        return LEFT + 10 + share * (right - LEFT - 20)

    def py(y):
        return bottom - y / top * (bottom - TOP)

    parts = [text(LEFT, 20, panel.title, weight="bold")]
    parts += legend(LEFT, 38)
    for tick in range(round(top / step) + 1):
        y = py(tick * step)
        parts.append(line(LEFT, y, right, y, GRID))
        parts.append(text(LEFT - 6, y + 4, number(tick * step), "end"))
    for x in xs:
        parts.append(line(px(x), bottom, px(x), bottom + 4, TEXT))
        parts.append(text(px(x), bottom + 18, number(x), "middle"))
    parts.append(line(LEFT, bottom, right, bottom, TEXT))
    parts.append(line(LEFT, TOP, LEFT, bottom, TEXT))
    parts.append(text((LEFT + right) / 2, HEIGHT - 10, panel.x_label, "middle"))
    parts.append(f'<text transform="translate(14 {(TOP + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle" '
                 f'fill="{TEXT}">{escape(panel.y_label)}</text>')
    parts.append(path([(px(point.x), py(point.y)) for point in panel.measured], MEASURED, 2))
    for point in panel.measured:
        if point.high > point.low:
            parts.append(line(px(point.x), py(point.low), px(point.x), py(point.high), MEASURED))
        parts.append(f'<circle cx="{px(point.x):.1f}" cy="{py(point.y):.1f}" r="3.5" fill="{MEASURED}"/>')
    # On top, so that it is seen where both are the same.
    parts.append(path([(px(x), py(y)) for x, y in panel.expected], EXPECTED, 1))
    return parts


def legend(x, y):
    return [line(x, y, x + 22, y, MEASURED, 2), f'<circle cx="{x + 11}" cy="{y}" r="3.5" fill="{MEASURED}"/>',
            text(x + 28, y + 4, "measured"), line(x + 98, y, x + 120, y, EXPECTED, 1), text(x + 126, y + 4, "expected")]


def text(x, y, content, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{TEXT}">'
            f"{escape(content)}</text>")


def line(x1, y1, x2, y2, colour, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def path(points, colour, width):
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
