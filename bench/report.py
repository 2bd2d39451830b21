"""report.py - rows of measurements as one aligned table, as Markdown, and as JSON."""

import json
import os

COLUMNS = [("work", "work"), ("unit", "unit"), ("plain", "plain"), ("ghost", "GhostMem"), ("jemalloc", "jemalloc"), ("mimalloc", "mimalloc"), ("in_ram", "images in RAM"),
           ("zram", "zram"), ("disk", "kernel's swap file"), ("floor", "floor"), ("slowdown", "x plain"),
           ("vs_zram", "speed / zram"), ("vs_disk", "speed / swap file"), ("vs_floor", "x floor"), ("vs_smallest", "x smallest"), ("target", "target"),
           ("reached", "reached")]
RATIOS = {"slowdown", "vs_zram", "vs_disk", "vs_floor", "vs_smallest"}
LEFT = {"work", "unit", "target", "reached"}


def cell(row, key):
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if key in RATIOS:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3f}" if key == "slowdown" and value < 2 else f"{value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def columns_of(rows):
    """Those that some row has."""
    return [column for column in COLUMNS if any(column[0] in row for row in rows)]


def sections(rows):
    """[(title, rows)], in the order of first appearance."""
    titles = list(dict.fromkeys(row["section"] for row in rows))
    return [(title, [row for row in rows if row["section"] == title]) for title in titles]


def numbered_notes(rows):
    """Every reason once, numbered; rows get the number behind their name."""
    reasons = list(dict.fromkeys(reason for row in rows for reason in row["notes"]))
    for row in rows:
        row["marks"] = "".join(f" [{reasons.index(reason) + 1}]" for reason in dict.fromkeys(row["notes"]))
    return reasons


def lines_of(rows, columns):
    table = []
    for row in rows:
        cells = [cell(row, key) for key, _ in columns]
        cells[0] += row["marks"]
        table.append(cells)
    return table


def headline(result):
    m, s = result["machine"], result["settings"]
    kind = f"Linux {m['kernel']}, {m['architecture']}, {m['cores']} cores, {m['cpu']}, {m['ram_gib']} GiB"
    return (f"GhostMem benchmark, {result['date']}: {kind}. Medians of {s['runs']}"
            + (", quick: for checking the benchmark itself, not for quoting" if s["quick"] else "") + ".")


def as_text(result):
    rows = result["rows"]
    reasons = numbered_notes(rows)
    columns = columns_of(rows)
    headings = [heading for _, heading in columns]
    widths = [max(len(line[i]) for line in [headings, *lines_of(rows, columns)]) for i in range(len(columns))]

    def aligned(cells):
        return "  ".join(text.ljust(width) if key in LEFT else text.rjust(width)
                         for text, width, (key, _) in zip(cells, widths, columns)).rstrip()

    out = [headline(result), "", aligned(headings), aligned(["-" * width for width in widths])]
    for title, part in sections(rows):
        out += [f"-- {title}", *map(aligned, lines_of(part, columns))]
    return "\n".join(out + footer(result, reasons)) + "\n"


def as_markdown(result):
    rows = result["rows"]
    reasons = numbered_notes(rows)
    columns = columns_of(rows)
    out = [headline(result), "", "| " + " | ".join(heading for _, heading in columns) + " |",
           "|" + "|".join(":--" if key in LEFT else "--:" for key, _ in columns) + "|"]
    for title, part in sections(rows):
        out.append(f"| **{title}** |" + " |" * (len(columns) - 1))
        out += ["| " + " | ".join(cells) + " |" for cells in lines_of(part, columns)]
    return "\n".join(out + footer(result, reasons)) + "\n"


def footer(result, reasons):
    judged = [row["reached"] for row in result["rows"]]
    out = ["", *(f"[{i}] {reason}" for i, reason in enumerate(reasons, 1))]
    out += [""] if reasons else []
    out.append(f"Targets of issue {result['settings']['issue']}: {judged.count('yes')} reached, {judged.count('no')} not reached, "
               f"{judged.count('n/a')} not measurable here; {judged.count('-')} lines recorded without a target.")
    return out


def write_json(result, path):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1, sort_keys=False)
        file.write("\n")
