#!/usr/bin/env python3
"""report.py RESULTS JSON SVG [NAME=VALUE...]: the benchmark's table on standard output, all rounds as JSON, a plot.

RESULTS has lines "what TAB paths TAB daemon TAB round TAB value", see `record` in tests/lab/lib/rival.sh. A value is
a number or "late N": not within N seconds. NAME=VALUE are facts of the run for the report's head.
"""
import json
import math
import statistics
import sys
from xml.sax.saxutils import escape

OURS, THEIRS, FLOOR = "dm-psad", "multipathd", "floor"
LATE = math.inf


def read(path):
    """The results: {(what, paths, daemon): [value of each round]}, a late one infinite, and the limits of those."""
    values, limits = {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            what, paths, daemon, _, value = line.rstrip("\n").split("\t")
            key = (what, int(paths), daemon)
            if value.startswith("late "):
                limits[key] = float(value[5:])
                value = LATE
            values.setdefault(key, []).append(float(value))
    return values, limits


class Results:
    def __init__(self, values, limits):
        self.values, self.limits = values, limits

    def get(self, what, paths, daemon, how=statistics.median):
        found = self.values.get((what, paths, daemon))
        return how(found) if found else None

    def paths(self, what, daemon):
        return sorted(p for w, p, d in self.values if w == what and d == daemon)


def units(value, unit):
    """A human-readable value: microseconds, milliseconds, KiB or plain."""
    if unit == "us":
        return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.0f} us"
    if unit == "ms":
        return f"{value / 1000:.1f} s" if value >= 10000 else f"{value:.0f} ms"
    if unit == "KiB":
        return f"{value / 1024:.1f} MiB"
    if unit == "permille":
        return f"{value / 10:.1f} %"
    if unit == "ns":
        return f"{value:.0f} ns"
    return f"{value:.0f}{unit}"


# What is judged: text, key, paths, unit, how the rounds become one figure, the judgement and its bar. "ratio" is ours
# by theirs, "floor" is ours by that of bare sg (floor.rs), "at most" and "at least" judge our figure alone, "growth" is a path's share at 4,000 by that at 400,
# None is shown without a bar.
MEDIAN, WORST = statistics.median, max
ROWS = [
    ("CPU per path check, daemon", "check_cpu_us", 400, "us", MEDIAN, "ratio", 1 / 10),
    ("... by instructions, 4 ns each", "counted_us", 400, "us", MEDIAN, None, None),
    ("... of that, bare sg: the rest is dm-psad's", "counted_us", 400, "us", MEDIAN, "floor", 1.5),
    ("CPU per path check, whole machine", "check_machine_us", 400, "us", MEDIAN, "ratio", 1 / 10),
    ("SCSI commands per 100 checks", "check_commands_x100", 400, "", MEDIAN, None, None),
    ("discovery, 400 paths -> 100 maps", "discovery_ms", 400, "ms", MEDIAN, "ratio", 1 / 4),
    ("restart with 100 maps: time to answer", "restart_ms", 400, "ms", MEDIAN, "ratio", 1 / 10),
    ("... tables loaded", "restart_loads", 400, "", WORST, "at most", 0),
    ("resident memory, 400 paths", "rss_kb", 400, "KiB", MEDIAN, "ratio", 1 / 3),
    ("locked memory, 400 paths", "locked_kb", 400, "KiB", MEDIAN, "ratio", 1 / 10),
    ("kernel memory with its maps, 400 paths", "kernel_kb", 400, "KiB", MEDIAN, None, None),
    ("list of 400 paths, idle", "list_ms", 400, "ms", MEDIAN, None, None),
    ("path back -> reinstated, median", "returned_ms", 4, "ms", MEDIAN, None, None),
    ("path back -> reinstated, worst", "returned_ms", 4, "ms", WORST, "at most", 1000),
    ("ALUA change under I/O -> groups follow", "followed_ms", 4, "ms", MEDIAN, "ratio", 1 / 10),
    ("ALUA change without I/O -> groups follow", "followed_idle_ms", 4, "ms", MEDIAN, None, None),
    # Each loss stops I/O once. Of twenty such stalls the longest is what an emulated machine happened to do meanwhile.
    ("longest stall on controller loss, median", "stall_ms", 4, "ms", MEDIAN, "ratio", 1.0),
    ("... of all losses", "stall_ms", 4, "ms", WORST, None, None),
    ("longest stall on controller return, median", "stall_back_ms", 4, "ms", MEDIAN, None, None),
    ("... of all returns", "stall_back_ms", 4, "ms", WORST, None, None),
    ("errors of verified I/O, all rounds", "io_errors", 4, "", WORST, "at most", 0),
    ("LUN remapped: bytes on the wrong disk", "remap_wrong_bytes", 2, "", WORST, "at most", 0),
    ("answer to a list while an HBA hangs, worst", "list_hang_ms", None, "ms", WORST, "at most", 50),
    ("... the same when nothing hangs", "list_quiet_ms", None, "ms", MEDIAN, None, None),
    ("... checks of the other HBAs' paths", "others_checked_pct", None, " %", MEDIAN, "at least", 95),
    ("CPU per command, 4,000 paths / 400", "growth_cpu_us", 4000, "us", MEDIAN, "growth", 1.3),
    ("resident memory per path, 4,000 / 400", "growth_rss_kb", 4000, "KiB", MEDIAN, "growth per path", 1.3),
    ("10,000 paths: share of a core", "core_permille", 10000, "permille", MEDIAN, "at most", 299.9),
    ("10,000 paths: same, simulated kernel", "simulated_permille", 10000, "permille", MEDIAN, "at most", 299.9),
]


def ratio_text(ratio):
    return "-" if ratio is None else f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}"


def judge(results, row):
    """One line of the table: its words, and the ratio and bar for the plot."""
    text, key, paths, unit, how, kind, bar = row
    if paths is None:
        paths = next(iter(results.paths(key, OURS) or results.paths(key, THEIRS)), 0)
    cells = []
    for daemon in (OURS, THEIRS):
        value = results.get(key, paths, daemon, how)
        limit = results.limits.get((key, paths, daemon))
        cells.append("-" if value is None else f"not in {limit:.0f} s" if value == LATE else units(value, unit))
    ours, theirs = (results.get(key, paths, d, how) for d in (OURS, THEIRS))
    ratio = None
    if kind == "floor":
        floor = results.get(key, paths, FLOOR, how)
        cells = ["-" if floor is None else units(floor, unit), "-"]
        ratio = ours / floor if ours is not None and floor else None
        met = None if ratio is None else ratio <= bar
        wanted = f"<= {bar} x"
    elif kind in ("growth", "growth per path"):
        small = results.get(key, 400, OURS, how)
        if ours is not None and small:
            ratio = ours / small / (10 if kind == "growth per path" else 1)
        met = None if ratio is None else ratio <= bar
        wanted = f"<= {bar} x"
    else:
        if ours is not None and theirs:
            ratio = 0.0 if theirs == LATE and ours != LATE else None if theirs == LATE else ours / theirs
        judged = ratio if kind == "ratio" else ours
        met = None if judged is None or kind is None else judged >= bar if kind == "at least" else judged <= bar
        sign = {"at least": ">="}.get(kind, "<=")
        wanted = "" if kind is None else f"{sign} {bar:.3g}" if kind == "ratio" else f"{sign} {units(bar, unit)}"
    verdict = "" if kind is None else "not measured" if met is None else "met" if met else "MISSED"
    return {"what": text, OURS: cells[0], THEIRS: cells[1], "ratio": ratio, "kind": kind, "bar": bar,
            "bar_text": wanted, "verdict": verdict}


def table(lines):
    rows = [["what", OURS, THEIRS, "ratio", "bar", ""]]
    rows += [[r["what"], r[OURS], r[THEIRS], ratio_text(r["ratio"]), r["bar_text"], r["verdict"]] for r in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    out = []
    for n, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:5], widths[1:5])] + [row[5]]
        out.append("  ".join(cells).rstrip())
        if n == 0:
            out.append("-" * (sum(widths) + 10))
    return "\n".join(out)


# The plot. Blue is dm-psad, orange multipathd.
INK = {OURS: "#1f5fa8", THEIRS: "#d9730d"}
GROWTH = [
    ("CPU per path check", "check_cpu_us", "ms", 1000),
    ("discovery to all maps", "discovery_ms", "s", 1000),
    ("restart to an answer", "restart_ms", "s", 1000),
    ("resident memory", "rss_kb", "MiB", 1024),
]


def words(x, y, text, size=12, anchor="start", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def line(x1, y1, x2, y2, ink="#bbb", extra=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{ink}" {extra}/>'


def growth(results, title, key, unit, scale, left, top, width, height):
    """One panel of curves over the number of paths, both axes logarithmic."""
    curves, late = {}, []
    for daemon in (OURS, THEIRS):
        points = [(p, results.get(key, p, daemon)) for p in results.paths(key, daemon) if p >= 100]
        curves[daemon] = [(p, v / scale) for p, v in points if v not in (None, LATE) and v > 0]
        late += [(p, daemon, results.limits[(key, p, daemon)]) for p, v in points if v == LATE]
    every = [v for curve in curves.values() for _, v in curve]
    out = [words(left, top - 8, f"{title}, {unit}", 13, extra='font-weight="bold"')]
    if not every:
        return out + [words(left, top + 20, "not measured")]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every) * 1.001))
    high = max(high, low + 1)
    ticks = sorted({p for curve in curves.values() for p, _ in curve} | {p for p, _, _ in late})
    first, last = math.log10(ticks[0]), max(math.log10(ticks[-1]), math.log10(ticks[0]) + 1)

    def x(p):
        return left + 20 + (math.log10(p) - first) / (last - first) * (width - 60)

    def y(v):
        return top + height - (math.log10(v) - low) / (high - low) * height

    for power in range(low, high + 1):
        out.append(line(left, y(10**power), left + width, y(10**power), "#ddd"))
        out.append(words(left - 5, y(10**power) + 4, f"{10**power:g}", 11, "end"))
    for p in ticks:
        out.append(line(x(p), top + height, x(p), top + height + 4, "#666"))
        out.append(words(x(p), top + height + 17, f"{p:,}", 11, "middle"))
    out.append(words(left + width / 2, top + height + 33, "paths", 11, "middle"))
    for daemon, curve in curves.items():
        ink = INK[daemon]
        where = " ".join(f"{x(p):.1f},{y(v):.1f}" for p, v in curve)
        out.append(f'<polyline points="{where}" fill="none" stroke="{ink}" stroke-width="2"/>')
        # The figure stands on the side where the other's curve is not.
        other = dict(curves[THEIRS if daemon == OURS else OURS])
        for p, v in curve:
            out.append(f'<circle cx="{x(p):.1f}" cy="{y(v):.1f}" r="3.5" fill="{ink}"/>')
            above = v > other[p] if p in other else daemon == THEIRS
            above = above or y(v) + 17 > top + height
            out.append(words(x(p), y(v) + (-8 if above else 17), f"{v:.3g}", 11, "middle", f'fill="{ink}"'))
    for n, (p, daemon, limit) in enumerate(late):
        text = f"{daemon} at {p:,}: not within {limit:.0f} s"
        out.append(words(left + width, top + 12 + 14 * n, text, 11, "end", f'fill="{INK[daemon]}"'))
    return out


def ratios(lines, left, top, width):
    """Bars of ratios on a logarithmic scale; a mark where the bar to be met is."""
    rows = [r for r in lines if r["kind"] in ("ratio", "growth", "growth per path") and r["ratio"] is not None]
    low, high = -3, 1
    label = 290

    def x(value):
        value = min(max(value, 10**low), 10**high)
        return left + label + (math.log10(value) - low) / (high - low) * (width - label - 70)

    title = "dm-psad / multipathd (the last two: 4,000 paths / 400 paths); shorter is better, the mark is the bar to meet"
    out = [words(left, top - 10, title, 13, extra='font-weight="bold"')]
    bottom = top + len(rows) * 24
    for power in range(low, high + 1):
        out.append(line(x(10**power), top, x(10**power), bottom, "#999" if power == 0 else "#ddd"))
        out.append(words(x(10**power), bottom + 16, f"{10**power:g}", 11, "middle"))
    out.append(words((x(10**low) + x(10**high)) / 2, bottom + 32, "ratio, logarithmic scale", 11, "middle"))
    for n, r in enumerate(rows):
        y = top + n * 24
        met = r["verdict"] == "met"
        ink = "#2e8b57" if met else "#c0392b"
        out.append(words(left + label - 8, y + 16, r["what"], 12, "end"))
        out.append(f'<rect x="{x(10**low):.1f}" y="{y + 4}" width="{max(x(r["ratio"]) - x(10**low), 1):.1f}" height="15" '
                   f'fill="{ink}" fill-opacity="0.75"/>')
        out.append(line(x(r["bar"]), y + 1, x(r["bar"]), y + 22, "#000", 'stroke-width="2.5"'))
        end = max(x(r["ratio"]), x(r["bar"])) + 6
        out.append(words(end, y + 16, f"{ratio_text(r['ratio'])} {'met' if met else 'missed'}", 11, extra=f'fill="{ink}"'))
    return out, bottom + 40


def plot(results, lines, facts):
    width = 1000
    out = [words(30, 32, "dm-psad next to multipathd", 20, extra='font-weight="bold"')]
    out.append(words(30, 54, ", ".join(facts.values()), 12, extra='fill="#555"'))
    for n, daemon in enumerate((OURS, THEIRS)):
        out.append(f'<rect x="{740 + n * 110}" y="22" width="12" height="12" fill="{INK[daemon]}"/>')
        out.append(words(757 + n * 110, 33, daemon, 13))
    for n, (title, key, unit, scale) in enumerate(GROWTH):
        out += growth(results, title, key, unit, scale, 75 + n % 2 * 480, 100 + n // 2 * 260, 410, 180)
    bars, bottom = ratios(lines, 30, 640, width - 60)
    out += bars
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}" viewBox="0 0 {width} {bottom}" '
            'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="#fff"/>\n'
            + "\n".join(out) + "\n</svg>\n")


def main():
    source, json_path, svg_path = sys.argv[1:4]
    facts = dict(word.split("=", 1) for word in sys.argv[4:])
    results = Results(*read(source))
    lines = [judge(results, row) for row in ROWS]
    rounds = [{"what": w, "paths": p, "daemon": d, "values": [None if v == LATE else v for v in values],
               "not_within_s": results.limits.get((w, p, d))} for (w, p, d), values in results.values.items()]
    with open(json_path, "w", encoding="utf-8") as out:
        json.dump({"facts": facts, "table": [dict(r, ratio=r["ratio"]) for r in lines], "results": rounds}, out, indent=1)
        out.write("\n")
    with open(svg_path, "w", encoding="utf-8") as out:
        out.write(plot(results, lines, facts))
    if facts:
        print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    print(table(lines))


if __name__ == "__main__":
    main()
