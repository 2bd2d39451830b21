"""growth.py - the section `growth`: what a fault, malloc and free cost, and what tables take, as ghost memory grows.

The limit is the same at every size (4 MiB), and so is the kind of page: two words, else zeros, so that 16 GiB of them take a few
hundred MiB of images. A fault is one random read that misses: the time of all reads divided by the share of them that the limit lets
miss. Beside live blocks of 4 KiB (GHOSTMEM_THRESHOLD=4096) faults are those of another block of 64 MiB; malloc and free are of
blocks that were not touched. "x smallest" is the figure by that of the smallest size, whose own line has no target.
"""

from statistics import median

import measure

MIB = 2**20
LIMIT_PAGES = 1024
N_READS = 200_000
SIZES_MIB = [64, 512, 4096, 16384]
COUNTS = [10, 1000, 100_000, 1_000_000]
BESIDE_MIB = 64


def size_text(mib):
    return f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB"


def table_bytes(outcome, n_pages):
    return int(outcome.stats["meta_bytes"]) / n_pages


def fault_ns(outcome, mib):
    n_pages = mib * MIB // measure.PAGE_BYTES
    return outcome.ns("randread") / (1 - LIMIT_PAGES / n_pages)


def median_of(runs, figure):
    good = [o for o in runs if not o.reason]
    return median(figure(o) for o in good) if good else "n/a"


def add_series(bench, section, lines):
    """lines: [(key, work, unit, [(label, runs, figure)])], each list from the smallest size to the largest."""
    for key, work, unit, sizes in lines:
        smallest = None
        for label, runs, figure in sizes:
            value = median_of(runs, figure)
            notes = [o.reason for o in runs]
            if key == "tables":
                bench.add(section, key, f"{work}, {label}", unit, notes, ghost=value, value=value)
                continue
            smallest = value if smallest is None else smallest
            bench.add(section, key if smallest is not value else "smallest", f"{work}, {label}", unit, notes, ghost=value,
                      vs_smallest=measure.ratio(value, smallest))


def run(bench):
    a = bench.a
    backend = a.backends[0]
    sizes = SIZES_MIB[:2] if a.quick else SIZES_MIB
    counts = COUNTS[:2] if a.quick else COUNTS
    reads = ["--data", "sparse", "--ops", str(N_READS // 10 if a.quick else N_READS)]
    by_size = {mib: [] for mib in sizes}
    by_count = {count: [] for count in counts}
    for i in range(a.runs):
        for mib in sizes:
            bench.say(f"growth: {size_text(mib)}, run {i + 1} of {a.runs}")
            command = [a.workload, "--bytes", f"{mib}M", *reads, "fill,randread"]
            by_size[mib].append(bench.keep(f"growth, {size_text(mib)}", measure.run_ghost(command, a.library, LIMIT_PAGES, backend, True)))
        for count in counts:
            bench.say(f"growth: {count:,} blocks, run {i + 1} of {a.runs}")
            command = [a.workload, "--bytes", f"{BESIDE_MIB}M", *reads, "--blocks", str(count), "fill,blocks,randread"]
            by_count[count].append(bench.keep(f"growth, {count} blocks", measure.run_ghost(
                command, a.library, LIMIT_PAGES, backend, True, settings={"GHOSTMEM_THRESHOLD": "4096"})))

    pages = MIB // measure.PAGE_BYTES
    limit = f"limit {LIMIT_PAGES * measure.PAGE_BYTES // MIB} MiB [{backend}]"
    add_series(bench, f"growth: one block, {limit}", [
        ("growth", "a fault", "ns", [(size_text(mib), runs, lambda o, mib=mib: fault_ns(o, mib)) for mib, runs in by_size.items()]),
        ("tables", "tables per touched page", "bytes",
         [(size_text(mib), runs, lambda o, mib=mib: table_bytes(o, mib * pages)) for mib, runs in by_size.items()])])

    def blocks(figure):
        return [(f"{count:,} blocks", runs, figure) for count, runs in by_count.items()]

    add_series(bench, f"growth: live blocks of 4 KiB beside {BESIDE_MIB} MiB, {limit}", [
        ("growth", "a fault", "ns", blocks(lambda o: fault_ns(o, BESIDE_MIB))),
        ("growth", "malloc", "ns", blocks(lambda o: o.ns("blocks_malloc"))),
        ("growth", "free", "ns", blocks(lambda o: o.ns("blocks_free"))),
        ("tables", "tables per touched page", "bytes",
         [(f"{count:,} blocks", runs, lambda o, count=count: table_bytes(o, BESIDE_MIB * pages + count)) for count, runs in by_count.items()])])
