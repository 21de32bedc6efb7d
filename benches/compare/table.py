"""Measurements to a Markdown table: medians, spreads, ratios of the rounds, what is wanted."""

from measure import summary
from rows import PRODUCT, US


def number(value):
    """Three digits that count, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    digits = 2
    while abs(value) < 10**-(digits - 2) and digits < 6:
        digits += 1
    return f"{value:.{digits - 1 if value >= 10 else digits}f}"


def spread(s, unit):
    """`median unit (least to most)`."""
    if s["n"] == 1:
        return f"{number(s['median'])} {unit}"
    return f"{number(s['median'])} {unit} ({number(s['least'])} to {number(s['most'])})"


def side(kept, row, name):
    return {m["round"]: m for m in kept if m["row"] == row.name and m["side"] == name}


def lines(row, kept, judged):
    """The figures of one row; `judged` says whether what is wanted is what was measured."""
    us, products = side(kept, row, US), side(kept, row, PRODUCT)
    for f in row.figures:
        ours = {n: f.ours(m) for n, m in us.items()}
        if not ours:
            continue
        theirs = {n: f.theirs(m) for n, m in side(kept, row, f.peer).items()} if f.peer else {}
        both = sorted(ours.keys() & theirs.keys())
        ratios = [ours[n] / theirs[n] if f.more else theirs[n] / ours[n] for n in both]
        ratio, met = "", []
        if ratios:
            r = summary(ratios)
            ratio = number(r["median"]) + (f" ({number(r['least'])} to {number(r['most'])})" if r["n"] > 1 else "")
            if f.wanted and judged:
                met.append(r["median"] >= f.wanted)
        wanted = []
        if f.wanted:
            wanted.append(f">= {f.wanted:g} x")
        if f.limit:
            wanted.append(f"<= {f.limit:g} {f.unit}")
            if judged:
                met.append(summary(ours.values())["median"] <= f.limit)
        of_product = ""
        if f.flop and products:
            shares = [100 * v * f.flop / products[n]["value"]["gflops"] / 1e9 for n, v in ours.items() if n in products]
            peers = [100 * v * f.flop / products[n]["value"]["gflops"] / 1e9 for n, v in theirs.items() if n in products]
            of_product = " / ".join(f"{summary(s)['median']:.0f} %" for s in (peers, shares) if s)
        yield [f.what, spread(summary(theirs.values()), f.unit) if theirs else "",
               spread(summary(ours.values()), f.unit), ratio, ", ".join(wanted),
               ("" if not met else "yes" if all(met) else "no"), of_product]


def draw(rows, kept, judged=True):
    """The whole table, and the product rate below it; `judged` is false for runs that do less than the real work."""
    heads = ["what", "peer", "nhits", "times better", "wanted", "met", "of the product rate, peer / nhits"]
    out = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        out += ["| " + " | ".join(line) + " |" for line in lines(row, kept, judged)]
    rates = [m["value"]["gflops"] for m in kept if m["side"] == PRODUCT]
    counts = sorted({sum(1 for m in kept if m["row"] == row.name and m["side"] == US) for row in rows})
    out.append("")
    if not judged:
        out.append("A part of the work only: nothing here is a result.")
    out.append(f"Medians of {' or '.join(map(str, counts))} rounds in which the sides took turns, least and greatest in "
               "brackets; the ratio is the median of the rounds' ratios, each of one round.")
    if rates:
        out.append(f"Products of 1024 x 512 by 512 x 512 in f32 with torch on all threads: "
                   f"{spread(summary(rates), 'GFLOP/s')}.")
    most = max((m["foreign"] for m in kept), default=0)
    out.append(f"Other work took {most:.0%} of the machine at most while one of these was measured.")
    return "\n".join(out)
