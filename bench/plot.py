#!/usr/bin/env python3
"""plot.py - the curve of slow-down against limit: what `make bench-plot` calls.

    plot.py [--runs N] [--quick] [--data text|binary|half] [--backend signal] [--swap DIRECTORY] [--json FILE] [--svg FILE]
            [--draw-only]

The work: reads by Zipf's law (0.99) of 512 MiB in one block, one access in five an update (the workload's phase `mixed`). Limits from
100 % to 10 % of the block, for GhostMem, for zram and for the kernel's swap file on disk; the two in a memory cgroup that
has what the workload needs beside its block on top. An access does nothing but touch a page, so that this is the most that a limit can cost.

The figures go to FILE (bench/results/slowdown.json), the picture is drawn from them alone, by gnuplot (bench/slowdown.svg): the
same figures give the same picture. --draw-only draws it again. Exit: 0; 1 when something could not be measured or drawn; 2 bad usage.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
from statistics import median

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
import measure  # noqa: E402
import report  # noqa: E402

TOP = os.path.dirname(measure.HERE)
MIB = 2**20
LIMITS = [100, 90, 75, 50, 25, 10]
CURVES = [("ghost", "GhostMem"), ("zram", "zram"), ("disk", "swap file on disk")]

# Colours of middle brightness on nothing: they can be told from white and from black.
SCRIPT = """
set terminal svg size 720,420 dynamic font "sans-serif,13" linewidth 1.6
set output
set border 3 linecolor rgb "#808080" linewidth 0.6
set tics nomirror textcolor rgb "#808080"
set grid ytics linecolor rgb "#808080" linewidth 0.3 dashtype 3
set title "{title}" textcolor rgb "#808080"
set xlabel "limit, % of the data" textcolor rgb "#808080"
set ylabel "time of an access, x plain malloc" textcolor rgb "#808080"
set key left top reverse Left textcolor rgb "#808080"
set xrange [102:8]
set xtics ({tics})
set logscale y
set yrange [{lowest}:{highest}]
set format y "%g"
set style line 1 linecolor rgb "#1f9e77" linewidth 2 pointtype 7 pointsize 0.6
set style line 2 linecolor rgb "#3d7fd6" linewidth 2 pointtype 5 pointsize 0.6
set style line 3 linecolor rgb "#d9722b" linewidth 2 pointtype 9 pointsize 0.7
{blocks}
plot {plots}
"""


def parse_arguments():
    p = argparse.ArgumentParser(description="Draw slow-down against limit for GhostMem, zram and a swap file.")
    p.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts (3)")
    p.add_argument("--quick", action="store_true", help="one small run of each, to see that everything works")
    p.add_argument("--data", choices=["text", "binary", "half"], default="text")
    p.add_argument("--backend", choices=["signal", "thread", "segv"], default="signal")
    p.add_argument("--swap", default="/var/tmp", help="where the swap file goes (/var/tmp)")
    p.add_argument("--json", default=os.path.join(measure.HERE, "results", "slowdown.json"))
    p.add_argument("--svg", default=os.path.join(measure.HERE, "slowdown.svg"))
    p.add_argument("--draw-only", action="store_true", help="from FILE, measure nothing")
    p.add_argument("--library", default=os.path.join(TOP, "libghostmem.so"))
    p.add_argument("--build", default=os.path.join(TOP, "build", "bench"), help="where workload is")
    a = p.parse_args()
    if a.quick:
        a.runs = 1
    if a.runs < 1:
        p.error("--runs must be at least 1")
    return a


def run_curves(a):
    """All figures, as what is written to FILE."""
    n_bytes = (32 if a.quick else 512) * MIB
    command = [os.path.join(a.build, "workload"), "--bytes", str(n_bytes), "--data", a.data, "fill,mixed,verify"]
    # Also what the processor and the machine's memory are warm from.
    beside_bytes = max(0, measure.run_plain(command).peak_rss_bytes - n_bytes)
    cells = {(curve, percent): [] for percent in LIMITS for curve, _ in CURVES}
    plain, problems = [], []
    for i in range(a.runs):
        plain.append(measure.run_plain(command))
        for curve, percent in cells:
            print(f"plot: {curve}, limit {percent} %, run {i + 1} of {a.runs}", file=sys.stderr, flush=True)
            limit_bytes = n_bytes * percent // 100
            if curve == "ghost":
                outcome = measure.run_ghost(command, a.library, limit_bytes // measure.PAGE_BYTES, a.backend, True if percent < 100 else None)
            elif curve == "zram":
                outcome = measure.run_zram(command, limit_bytes + beside_bytes)
            else:
                outcome = measure.run_cgroup(command, limit_bytes + beside_bytes, a.swap, 2 * n_bytes)
            cells[curve, percent].append(outcome)
            problems += [outcome.reason, outcome.remark and f"limit {percent} %: {outcome.remark}"]

    def ns(runs):
        good = [o.ns("mixed") for o in runs if not o.reason]
        return round(median(good), 1) if good else None

    return {"date": datetime.date.today().isoformat(), "machine": measure.describe_machine(), "runs": a.runs, "backend": a.backend,
            "block_mib": n_bytes // MIB, "data": a.data, "unit": "nanoseconds an access", "plain": ns(plain),
            "curves": {curve: {str(percent): ns(cells[curve, percent]) for percent in LIMITS} for curve, _ in CURVES},
            "problems": sorted(set(filter(None, problems)))}


def points_of(result, curve):
    return [(int(percent), ns / result["plain"]) for percent, ns in result["curves"][curve].items() if ns is not None]


def power_of_ten(n):
    """The smallest that is at least n."""
    power = 1.0
    while power < n:
        power *= 10
    return power


def draw(result, path):
    curves = [(curve, name, points_of(result, curve)) for curve, name in CURVES]
    shown = [(curve, name, points) for curve, name, points in curves if points]
    if not shown or not result["plain"]:
        raise ValueError("there is nothing to draw")
    highest = max(y for _, _, points in shown for _, y in points)
    blocks, plots = [], []
    for curve, name, points in shown:
        number = [c for c, _ in CURVES].index(curve) + 1
        blocks += [f"${curve} << END", *(f"{x} {y:.4g}" for x, y in points), "END"]
        label = f"{name} ({result['backend']})" if curve == "ghost" else name
        plots.append(f"${curve} using 1:2 with linespoints linestyle {number} title \"{label}\"")
    script = SCRIPT.format(title=f"{result['block_mib']} MiB of {result['data']}: reads by Zipf's law, one access in five an update",
                           tics=", ".join(str(percent) for percent in LIMITS), lowest="0.5", highest=f"{power_of_ten(highest):g}",
                           blocks="\n".join(blocks), plots=", ".join(plots))
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    if not done.stdout.rstrip().endswith("</svg>"):
        raise ValueError("gnuplot: " + (done.stderr.strip().splitlines() or ["it drew nothing"])[-1])
    with open(path, "w", encoding="utf-8") as file:
        file.write(done.stdout)


def main():
    a = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run under way takes its swap device down
    if not a.draw_only:
        result = run_curves(a)
        report.write_json(result, a.json)
    with open(a.json, encoding="utf-8") as file:
        result = json.load(file)
    for text in result["problems"]:
        print(f"plot: {text}", file=sys.stderr)
    try:
        draw(result, a.svg)
    except (OSError, subprocess.CalledProcessError, ValueError) as problem:
        print(f"plot: not drawn: {problem}", file=sys.stderr)
        return 1
    return 1 if any("exit status" in text for text in result["problems"]) else 0


if __name__ == "__main__":
    sys.exit(main())
