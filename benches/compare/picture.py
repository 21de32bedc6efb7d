"""The picture of growth.py: one panel for each thing that grows, times and memory on logarithmic scales."""

import math

PANEL, GAP, LEFT, TOP, BOTTOM = 230, 96, 64, 78, 52
INK, FAINT, TIME, MEMORY = "#333", "#e5e5e5", {"read": "#7a9cc6", "train": "#1f6fd6", "predict": "#0b3d7a"}, "#c96a1b"
# Name, title, label of the sizes, what of a run is drawn as its time, and the power of the line beside it.
PANELS = [
    ("windows", "windows to train on", "seconds", None),
    ("series", "series of 60 rows", "seconds", 1),
    ("hidden", "units of a layer", "step_ms", 2),
    ("threads", "threads", "step_ms", -1),
]


def ticks(low, high):
    """Powers of ten from one to the other."""
    return range(math.floor(low), math.ceil(high) + 1)


def short(value):
    """1000 as 1 k, 1000000 as 1 M, 1024 as it is."""
    if value % 1000 and value > 1000:
        return f"{value:,.0f}"
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class Panel:
    """One pair of axes, both logarithmic."""

    def __init__(self, x0, y0, xs, ys):
        self.x0, self.y0 = x0, y0
        self.xs = (math.log10(min(xs)), math.log10(max(xs)))
        self.ys = (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9))

    def x(self, v):
        span = self.xs[1] - self.xs[0] or 1
        return self.x0 + PANEL * (math.log10(v) - self.xs[0]) / span

    def y(self, v):
        span = self.ys[1] - self.ys[0] or 1
        return self.y0 + PANEL * (self.ys[1] - math.log10(v)) / span

    def line(self, points, colour, dashed=False):
        path = " ".join(f"{'M' if i == 0 else 'L'}{self.x(a):.1f} {self.y(b):.1f}" for i, (a, b) in enumerate(points))
        dash = ' stroke-dasharray="4 4" stroke-width="1"' if dashed else ' stroke-width="2"'
        dots = "" if dashed else "".join(
            f'<circle cx="{self.x(a):.1f}" cy="{self.y(b):.1f}" r="3" fill="{colour}"/>' for a, b in points)
        return f'<path d="{path}" fill="none" stroke="{colour}"{dash}/>{dots}'


def clipped(panel, points):
    """The part of a straight guide that lies within the panel."""
    return [(a, b) for a, b in points if panel.ys[0] - 1e-9 <= math.log10(b) <= panel.ys[1] + 1e-9]


def draw(kept):
    """The whole picture of what was measured."""
    shown = [p for p in PANELS if kept.get(p[0])]
    width = LEFT + len(shown) * (PANEL + GAP)
    height = TOP + PANEL + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           'font-size="12">', '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="{LEFT}" y="22" font-size="15" fill="#222">Time and peak memory as the work grows</text>',
           f'<text x="{LEFT}" y="40" fill="{INK}">blue: time, orange: memory, dashed: time in proportion to the work'
           '</text>']
    for i, (name, what, key, power) in enumerate(shown):
        points = {int(n): m for n, m in kept[name].items()}
        sizes = sorted(points)
        kinds = list(points[sizes[0]])
        times = {k: [(n, points[n][k].get(key, points[n][k]["seconds"])) for n in sizes] for k in kinds}
        memory = [(n, max(m["mb"] for m in points[n].values())) for n in sizes]
        values = [v for series in times.values() for _, v in series] + [v for _, v in memory]
        p = Panel(LEFT + i * (PANEL + GAP), TOP, sizes, values)
        for t in ticks(*p.ys):
            y = p.y(10**t)
            out.append(f'<line x1="{p.x0}" x2="{p.x0 + PANEL}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
                       f'<text x="{p.x0 - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{short(10**t)}</text>')
        for n in sizes:
            out.append(f'<text x="{p.x(n):.1f}" y="{TOP + PANEL + 18}" text-anchor="middle" fill="{INK}">{short(n)}'
                       '</text>')
        unit = "ms a step" if key == "step_ms" else "s"
        out.append(f'<text x="{p.x0}" y="{TOP - 12}" fill="{INK}">{unit}, MB</text>'
                   f'<text x="{p.x0 + PANEL / 2}" y="{TOP + PANEL + 38}" text-anchor="middle" fill="{INK}">{what}</text>')
        if power is not None or name == "windows":
            slope = 1 if power is None else power
            n0, v0 = times[kinds[0]][0]
            guide = [(n0 * (sizes[-1] / n0) ** (s / 50), v0 * (sizes[-1] / n0) ** (slope * s / 50)) for s in range(51)]
            guide = clipped(p, guide)
            if len(guide) > 1:
                out.append(p.line([guide[0], guide[-1]], "#999", dashed=True))
        # Names at the last points, from the top down and never closer than a line of text.
        last = float("-inf")
        for k, series in sorted(times.items(), key=lambda item: -item[1][-1][1]):
            out.append(p.line(series, TIME[k]))
            n, v = series[-1]
            last = max(p.y(v) + 4, last + 14)
            out.append(f'<text x="{p.x(n) + 8:.1f}" y="{last:.1f}" fill="{TIME[k]}">{k}</text>')
        out.append(p.line(memory, MEMORY))
    out.append("</svg>")
    return "\n".join(out) + "\n"
