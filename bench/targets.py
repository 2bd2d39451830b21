"""targets.py - what the issues ask for, line by line. A target that was not measured is neither reached nor missed.

Metrics: `slowdown` GhostMem's time by plain malloc's; `vs_zram` zram's time by GhostMem's (its speed in zram's); `vs_disk` the same by the kernel's swap file; `vs_floor`
GhostMem's time by the floor; `vs_smallest` a figure by that of the smallest size; `value` the line's own figure.
"""

import operator

COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}

# issue -> line's key -> [(metric, comparison, bound, bound as printed)]
MEMORY = {
    "tables": [("value", "<=", 16, "16 bytes")],
    "slack": [("value", "<=", 15, "15 %")],
    "peak_rss": [("value", "<=", 8, "8 MiB")],
    "limit_held": [("value", "<=", 0, "0 pages")],
    "bigfree": [("value", "<", 1000, "1 ms")],
    "realloc": [("value", "<", 1000, "1 ms")],
    "reallocmove": [("value", "<", 1000, "1 ms")],
}

TARGETS = {
    2: {
        **MEMORY,
        "fits": [("slowdown", "<=", 1.02, "1.02 x plain")],
        "fill": [("vs_zram", ">=", 1.0, "zram's speed")],
        "seqread": [("vs_zram", ">=", 1.0, "zram's speed")],
    },
    3: {
        "swap seqread": [("vs_disk", ">=", 2.0, "2 x the kernel's speed")],
        "swap sequpdate": [("vs_disk", ">=", 2.0, "2 x the kernel's speed")],
        "swap randread": [("vs_disk", ">=", 1.0, "the kernel's speed")],
        "swap randupdate": [("vs_disk", ">=", 1.0, "the kernel's speed")],
        "swap written": [("value", "<=", 1.2, "1.2")],
        "swap rss": [("value", "<=", 8, "8 MiB")],
        "swap limit": [("value", "<=", 0, "0 pages")],
    },
    4: {
        "thaw_median signal": [("vs_floor", "<=", 1.3, "1.3 x floor")],
    },
    5: {
        "forkexec": [("slowdown", "<=", 1.1, "1.1 x plain")],
    },
    6: {
        **MEMORY,
        "fits": [("slowdown", "<=", 1.01, "1.01 x plain")],
        "fill": [("vs_zram", ">=", 1.3, "1.3 x zram's speed")],
        "seqread": [("vs_zram", ">=", 3.0, "3 x zram's speed")],
        "randread": [("vs_zram", ">=", 3.0, "3 x zram's speed"), ("vs_floor", "<=", 1.3, "1.3 x floor")],
        "zipf": [("vs_zram", ">=", 3.0, "3 x zram's speed")],
        "randupdate": [("vs_zram", ">=", 1.5, "1.5 x zram's speed")],
        "randread:2": [("vs_zram", ">=", 3.0, "3 x zram's speed")],
        "total_ram": [("value", "<=", 1.2, "1.2 x zram's")],
        "program": [("vs_zram", ">=", 1.0, "zram's speed")],
        "growth": [("vs_smallest", "<=", 1.25, "1.25 x smallest")],
    },
    20: {
        "small": [("slowdown", "<=", 1.0, "1.0 x plain")],
        "node": [("slowdown", "<=", 1.25, "1.25 x plain")],
    },
    19: {
        "process": [("vs_zram", ">=", 1.0, "zram's speed")],  # in three of four, and never below 1 / 1.5
        "process rss": [("value", "<=", 8, "8 MiB")],
    },
}


def judge(row, issue):
    """Set row's `target` and `reached` (yes, no, n/a, or - when the issue only asks to record the figure)."""
    wanted = TARGETS[issue].get(row["key"], [])
    if not wanted:
        row["target"], row["reached"] = "(recorded)", "-"
        return
    row["target"] = ", ".join(f"{comparison} {text}" for _, comparison, _, text in wanted) + f" (issue {issue})"
    figures = [row.get(metric) for metric, _, _, _ in wanted]
    if any(not isinstance(figure, (int, float)) for figure in figures):
        row["reached"] = "n/a"
    elif all(COMPARE[comparison](figure, bound) for figure, (_, comparison, bound, _) in zip(figures, wanted)):
        row["reached"] = "yes"
    else:
        row["reached"] = "no"
