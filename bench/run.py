#!/usr/bin/env python3
"""run.py - the benchmark of GhostMem: what `make bench` calls. One run, one table, every rival measured in the same run.

    run.py [--runs N] [--quick] [--backends signal,thread,segv] [--limits 25,50] [--data text,binary,half] [--issue 2|3|4|5|6|19|20]
           [--markdown] [--json FILE] [--sections fits,small,over,programs,process,growth,memory,calls,guard,swap]

Without options it measures all that issue 6 asks for, with the backend `signal`, medians of 5, in less than 90 minutes (40 or so) on a machine of
two cores; it says at the start how long it will take about. Other backends, fewer runs and single sections by option.

  fits    wall time of sort, xz and a fill and scan with a limit far above their need, GhostMem by plain malloc, the two in turns
  small   blocks below a page while all fit, beside glibc's malloc, jemalloc and mimalloc: small.py
  over    the workload's phases at a limit: plain malloc, GhostMem's backends, a memory cgroup of that limit with zram/lz4 swap, and
          the floor (floors.py), all of them in turns
  programs  wall time of sort, xz, numpy, sqlite3 and redis at a limit, beside zram at the same limit: programs.py
  process  the same for programs whose memory is in small blocks and mappings of their own, with the limit on the whole process: process.py
  growth  what a fault, malloc and free cost from 64 MiB to 16 GiB and from 10 to 1,000,000 live blocks: growth.py
  memory  tables, the pool's slack, peak RSS and total RAM, from GhostMem's statistics and the kernel's count
  calls   malloc+free of an untouched 1 GiB block, realloc of a frozen block, fork and exec of a small program
  guard   what each backend's way of handling faults and calls costs: one thaw at a time, read(2) into frozen memory, getppid(), a byte
          through a pipe, requests a second of a Redis server
  swap    2 GiB at a limit of 128 MiB with a swap file, beside images in RAM and beside the kernel's swap file on the same disk in a
          memory cgroup of that limit; once with the page cache that the machine has to spare, once in a cgroup that leaves it none

The table goes to standard output, progress to standard error, everything measured to bench/results/DATE.json (with --quick only
where --json says). Exit: 0 also when a target is missed: the table says so; 1 when a program under measurement failed or read a
wrong value; 2 bad usage.
"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
import estimate  # noqa: E402
import floors  # noqa: E402
import growth  # noqa: E402
import measure  # noqa: E402
import process  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
import server  # noqa: E402
import small  # noqa: E402
import targets  # noqa: E402

TOP = os.path.dirname(measure.HERE)
MIB = 2**20
PAIRS_A_RUN = 12  # of the short work within the limit
SECTIONS = ["fits", "small", "over", "programs", "process", "growth", "memory", "calls", "guard", "swap"]
# Updates last: the pages that they leave behind are compressed in what comes after.
PHASES = ["fill", "seqread", "randread", "randread:2", "zipf", "randupdate"]
NAMES = {"fill": "sequential fill", "seqread": "sequential read", "randread": "random read", "zipf": "zipf 0.99 read",
         "randupdate": "random update", "sequpdate": "sequential update", "randread:2": "random read, 2 threads"}
FITS_LIMIT_PAGES = 2 * 2**30 // measure.PAGE_BYTES  # far above what sort, xz and the workload need
FROZEN_LIMIT_PAGES = 1024  # of 65,536: the block is frozen but for 2 %


def parse_arguments():
    p = argparse.ArgumentParser(description="Benchmark GhostMem against plain malloc, zram and the floor of its primitives.")
    p.add_argument("--runs", type=int, default=5, help="runs of each, of which the median counts (5)")
    p.add_argument("--quick", action="store_true", help="one small run of each, to see that everything works")
    p.add_argument("--issue", type=int, choices=sorted(targets.TARGETS), default=6, help="whose targets (6)")
    p.add_argument("--backends", default="signal", help="of thread, signal, segv, auto (signal)")
    p.add_argument("--limits", default="25,50", help="per cent of the block (25,50)")
    p.add_argument("--data", default="text,binary,half", help="of text, binary, half (all)")
    p.add_argument("--sections", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)} (all)")
    p.add_argument("--programs", default=",".join(programs.WORKS), help=f"of {', '.join(programs.WORKS)}, for that section (all)")
    p.add_argument("--processes", default=",".join(process.NAMES), help="for the section process: " + ", ".join(process.NAMES) + " (all)")
    p.add_argument("--swap", default="/var/tmp", help="where swap files go (/var/tmp)")
    p.add_argument("--markdown", action="store_true", help="print a Markdown table")
    p.add_argument("--json", help="where to write all figures")
    p.add_argument("--library", default=os.path.join(TOP, "libghostmem.so"))
    p.add_argument("--build", default=os.path.join(TOP, "build", "bench"), help="where workload and floor are")
    a = p.parse_args()
    for name in ("backends", "data", "sections", "programs", "processes"):
        setattr(a, name, getattr(a, name).split(","))
    known = [(a.backends, {"thread", "signal", "segv", "auto"}), (a.data, {"text", "binary", "half"}),
             (a.sections, set(SECTIONS)), (a.programs, set(programs.WORKS)), (a.processes, set(process.NAMES))]
    for given, allowed in known:
        if not set(given) <= allowed:
            p.error(f"unknown: {', '.join(sorted(set(given) - allowed))}")
    try:
        a.limits = [int(text) for text in a.limits.split(",")]
    except ValueError:
        p.error("--limits takes whole numbers")
    if a.runs < 1 or not all(1 <= percent <= 99 for percent in a.limits):
        p.error("--runs must be at least 1, limits 1 to 99")
    a.library = os.path.abspath(a.library)
    a.workload, a.floor, a.small = (os.path.abspath(os.path.join(a.build, name)) for name in ("workload", "floor", "small"))
    for program in (a.workload, a.floor, a.small):
        if not os.access(program, os.X_OK):
            p.error(f"{os.path.basename(program)} is not built")
    if a.quick:
        a.runs = 1
    a.bytes = (64 if a.quick else 512) * MIB
    return a


class Bench:
    """Measures section after section into rows (what the table shows) and raw (all single figures)."""

    def __init__(self, arguments):
        self.a = arguments
        self.rows = []
        self.raw = []
        self.failures = []

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def keep(self, label, outcome):
        """Record one run; remember what must not happen."""
        self.raw.append({"what": label, "reason": outcome.reason, "wall_s": outcome.wall_s, "peak_rss_bytes": outcome.peak_rss_bytes,
                         "phases": outcome.phases, "stats": outcome.stats})
        if outcome.reason and "exit status" in outcome.reason:
            self.failures.append(f"{label}: {outcome.reason}")
        return outcome

    def add(self, section, key, work, unit, notes=(), **figures):
        row = {"section": section, "key": key, "work": work, "unit": unit, "notes": [n for n in notes if n], **figures}
        targets.judge(row, self.a.issue)
        self.rows.append(row)

    def measure(self, section):
        if section == "programs":
            programs.run(self)
        elif section == "process":
            process.run(self)
        elif section == "growth":
            growth.run(self)
        elif section == "small":
            small.run(self)
        else:
            getattr(self, section)()

    # ---- within the limit ----

    def fits(self):
        a = self.a
        self.say("within the limit: sort, xz, fill and scan")
        with tempfile.TemporaryDirectory(prefix="ghostmem-bench-") as directory:
            texts = {}
            for name, mib in (("sort", 8 if a.quick else 128), ("xz", 2 if a.quick else 24)):
                texts[name] = os.path.join(directory, name + ".txt")
                with open(texts[name], "wb") as file:
                    subprocess.run([a.workload, "--emit", f"{mib}M"], stdout=file, check=True)
            block = [a.workload, "--bytes", str(a.bytes), "fill,scan"]
            self.fits_one(f"GNU sort, {os.path.getsize(texts['sort']) // MIB} MiB of text",
                          ["sort", "--parallel=2", "-S", "512M", "-T", directory, texts["sort"]], a.runs)
            self.fits_one(f"xz -6 -T1, {os.path.getsize(texts['xz']) // MIB} MiB of text",
                          ["xz", "-6", "-T1", "-k", "-c", texts["xz"]], a.runs)
            # Half a second each, of which single ones are off by 3 %: the median of so many is not by a third of the 1 % that is asked.
            self.fits_one(f"fill and scan of {a.bytes // MIB} MiB", block, PAIRS_A_RUN * a.runs)

    def fits_one(self, work, command, n_pairs):
        a = self.a
        is_workload = command[0] == a.workload
        output = measure.LINES if is_workload else measure.NOTHING
        section = f"fits: limit {FITS_LIMIT_PAGES * 4096 // MIB} MiB, never reached"

        def once(mode):
            if mode == "plain":
                return measure.run_plain(command, output)
            return measure.run_ghost(command, a.library, FITS_LIMIT_PAGES, a.backends[0], False, output)

        once("plain")  # the file's pages and the machine's memory are warm from here on
        runs = {"plain": [], "ghost": []}
        for i in range(n_pairs):
            # Plain first, then GhostMem first: drift of the machine cancels.
            for mode in ("plain", "ghost") if i % 2 == 0 else ("ghost", "plain"):
                runs[mode].append(self.keep(f"fits, {work}, {mode}", once(mode)))
        notes = [outcome.reason for outcomes in runs.values() for outcome in outcomes]
        pairs = [pair for pair in zip(runs["plain"], runs["ghost"]) if not pair[0].reason and not pair[1].reason]

        def row(name, seconds):
            if not pairs:
                good = [seconds(o) for o in runs["plain"] if not o.reason]
                self.add(section, "fits", name, "s", notes, plain=median(good) if good else "n/a", ghost="n/a", slowdown="n/a")
                return
            self.add(section, "fits", name, "s", notes, plain=median(seconds(p) for p, _ in pairs),
                     ghost=median(seconds(g) for _, g in pairs), slowdown=median(seconds(g) / seconds(p) for p, g in pairs))

        row(work, lambda outcome: outcome.wall_s)
        if is_workload:
            row("  of which the two loops", lambda outcome: outcome.phases["fill"][2] + outcome.phases["scan"][2])

    # ---- over the limit ----

    def over(self):
        for data in self.a.data:
            for percent in self.a.limits:
                self.over_one(data, percent)

    def over_one(self, data, percent):
        a = self.a
        n_pages = a.bytes // measure.PAGE_BYTES
        limit_pages = n_pages * percent // 100
        what = f"{a.bytes // MIB} MiB of {data}, limit {percent} %"
        command = [a.workload, "--bytes", str(a.bytes), "--data", data, ",".join(PHASES) + ",verify"]
        modes = ["floor", "plain", *a.backends, "zram"]
        runs = {mode: [] for mode in modes}
        for i in range(a.runs):
            for mode in modes:
                self.say(f"{what}: {mode}, run {i + 1} of {a.runs}")
                if mode == "floor":
                    outcome = measure.run_plain([a.floor, "--data", data])
                elif mode == "plain":
                    outcome = measure.run_plain(command)
                elif mode == "zram":
                    outcome = measure.run_zram(command, limit_pages * measure.PAGE_BYTES)
                else:
                    outcome = measure.run_ghost(command, a.library, limit_pages, mode, True)
                runs[mode].append(self.keep(f"{what}, {mode}", outcome))

        def figure(mode, phase):
            good = [o.ns(phase) for o in runs[mode] if (not o.reason or o.is_killed) and o.ns(phase) is not None]
            if good:
                return median(good)
            return "killed" if any(o.is_killed for o in runs[mode]) else "n/a"

        names = {name for outcome in runs["floor"] for name in outcome.phases}
        primitives = {name: figure("floor", name) for name in names}
        n_cores = len(os.sched_getaffinity(0))
        shared_notes = [o.reason for mode in ("plain", "zram", "floor") for o in runs[mode]] + [runs["zram"][-1].remark]
        n_killed = sum(o.is_killed for o in runs["zram"])
        if n_killed:
            shared_notes = [n for n in shared_notes if not n or "killed" not in n]
            shared_notes.append(f"zram: the kernel killed {n_killed} of {a.runs} runs for lack of memory; medians are of what was left")
        for backend in a.backends:
            for phase in PHASES:
                plain, ghost, zram = figure("plain", phase), figure(backend, phase), figure("zram", phase)
                floor = floors.floor_ns(phase, primitives, plain, n_pages, percent / 100, n_cores)
                self.add(what, phase, f"{NAMES[phase]} [{backend}]", "ns/access",
                         shared_notes + [o.reason for o in runs[backend]], plain=plain, ghost=ghost, zram=zram,
                         floor="n/a" if floor is None else floor, slowdown=measure.ratio(ghost, plain), vs_zram=measure.ratio(zram, ghost),
                         vs_floor=measure.ratio(ghost, floor))
        for backend in a.backends:
            self.over_memory(what, backend, limit_pages, runs[backend], runs["zram"])

    def over_memory(self, what, backend, limit_pages, ghost_runs, zram_runs):
        """What the runs just made say of memory: was the limit held, and what did tables and all of it take, beside zram."""
        a = self.a
        good = [o.stats for o in ghost_runs if not o.reason]
        above = tables = total = total_zram = share = "n/a"
        limit_bytes = limit_pages * measure.PAGE_BYTES
        notes = [o.reason for o in ghost_runs]
        try:
            if good:
                above = max(max(int(s["resident_pages_peak"]) - limit_pages, int(s["limit_exceeded_pages_peak"])) for s in good)
                tables = median(int(s["meta_bytes"]) * measure.PAGE_BYTES / a.bytes for s in good)
                total = median(limit_bytes + int(s["pool_held_bytes"]) + int(s["meta_bytes"]) for s in good) / MIB
        except KeyError as missing:
            notes.append(f"GhostMem {backend}: no {missing} in its statistics")
        # A killed run had the whole block swapped before: its peak counts.
        used = [int(o.stats["zram_mem_used_max_bytes"]) for o in zram_runs if not o.reason or o.is_killed]
        if used:
            total_zram = (limit_bytes + median(used)) / MIB
        share = measure.ratio(total, total_zram)
        self.add(what, "tables", f"tables per touched page [{backend}]", "bytes", notes, ghost=tables, value=tables)
        self.add(what, "limit_held", f"resident above the limit at worst [{backend}]", "pages", notes, ghost=above, value=above)
        self.add(what, "total_ram", f"RAM in all [{backend}]", "MiB", notes + [o.reason for o in zram_runs if not o.is_killed], ghost=total,
                 zram=total_zram, vs_zram="" if share == "n/a" else f"x {share:.2f} RAM", value=share)

    # ---- memory ----

    def memory(self):
        a = self.a
        n_pages = a.bytes // measure.PAGE_BYTES
        limit_pages = n_pages // 4
        command = [a.workload, "--bytes", str(a.bytes), "fill"]
        section = f"memory after a fill of {a.bytes // MIB} MiB of text, limit 25 %"
        for backend in a.backends:
            self.say(f"memory: {backend}")
            runs = [self.keep(f"memory, {backend}", measure.run_ghost(command, a.library, limit_pages, backend, True))
                    for _ in range(a.runs)]
            notes = [o.reason for o in runs]
            tables = slack = held = excess = peak = "n/a"
            try:
                good = [o for o in runs if not o.reason]
                if good:
                    def stat(o, key):
                        return int(o.stats[key])
                    tables = median(stat(o, "meta_bytes") / n_pages for o in good)
                    slack = median(100 * (stat(o, "pool_held_bytes") - stat(o, "pool_used_bytes")) / stat(o, "pool_held_bytes")
                                   for o in good)
                    held = median(stat(o, "pool_held_bytes") for o in good) / MIB
                    peak = median(o.peak_rss_bytes for o in good) / MIB
                    excess = max(o.peak_rss_bytes - limit_pages * measure.PAGE_BYTES - stat(o, "pool_held_bytes")
                                 - stat(o, "meta_bytes") for o in good) / MIB
            except (KeyError, ZeroDivisionError) as problem:
                notes.append(f"GhostMem {backend}: its statistics lack something ({problem})")
            self.add(section, "tables", f"tables per touched page [{backend}]", "bytes", notes, ghost=tables, value=tables)
            self.add(section, "slack", f"pool slack, of {held if held == 'n/a' else round(held)} MiB held [{backend}]", "% of held",
                     notes, ghost=slack, value=slack)
            self.add(section, "peak_rss", f"peak RSS {peak if peak == 'n/a' else round(peak)} MiB, above limit + pool + tables [{backend}]",
                     "MiB", notes, ghost=excess, value=excess)

    # ---- single calls ----

    def calls(self):
        a = self.a
        quarter = 32 * 1024
        block = a.bytes // 2
        section = "single calls"
        self.say("calls: malloc and free of 1 GiB, realloc, fork and exec")
        jobs = [("bigfree", "bigfree_max", "malloc+free of untouched 1 GiB, slowest of 16", ["bigfree"], quarter)]
        jobs += [(key, key, f"realloc of a frozen {block // MIB} MiB block to twice its size{how}",
                  ["--bytes", str(block), f"fill,{key}"], FROZEN_LIMIT_PAGES)
                 for key, how in (("realloc", ""), ("reallocmove", ", with a neighbour"))]
        big = 256 * MIB if a.quick else 2048 * MIB
        jobs += [("forkexec", "forkexec", f"fork and exec of a small program, with {big // MIB} MiB, limit 25 %",
                  ["--bytes", str(big), "fill,forkexec"], big // 4 // measure.PAGE_BYTES)]
        for key, phase, work, arguments, limit_pages in jobs:
            plain = [self.keep(f"calls, {key}, plain", measure.run_plain([a.workload, *arguments])) for _ in range(a.runs)]
            plain_us = self.median_us(plain, phase)
            for backend in a.backends:
                must_engage = None if key == "bigfree" else True
                ghost = [self.keep(f"calls, {key}, {backend}",
                                   measure.run_ghost([a.workload, *arguments], a.library, limit_pages, backend, must_engage))
                         for _ in range(a.runs)]
                ghost_us = self.median_us(ghost, phase)
                self.add(section, key, f"{work} [{backend}]", "us", [o.reason for o in plain + ghost], plain=plain_us, ghost=ghost_us,
                         slowdown=measure.ratio(ghost_us, plain_us), value=ghost_us)

    # ---- the guard ----

    def guard(self):
        """Single thaws, system calls and a server: what the way in which faults and calls are handled costs."""
        a = self.a
        block = min(a.bytes, 256 * MIB)
        section = f"guard: {block // MIB} MiB of text, limit {FROZEN_LIMIT_PAGES * measure.PAGE_BYTES // MIB} MiB"
        command = [a.workload, "--bytes", str(block), "fill,thaw,readcall,getppid,pingpong"]
        n_values, n_requests = (600, 2000) if a.quick else (3000, 10000)
        redis_limit = n_values * server.VALUE_BYTES // 4 // measure.PAGE_BYTES
        modes = ["floor", "plain", *a.backends]
        runs = {mode: [] for mode in modes}
        rates = {mode: [] for mode in modes if mode != "floor"}
        for i in range(a.runs):
            for mode in modes:
                self.say(f"guard: {mode}, run {i + 1} of {a.runs}")
                if mode == "floor":
                    outcome = measure.run_plain([a.floor])
                elif mode == "plain":
                    outcome = measure.run_plain(command)
                    rates[mode].append(server.run(server.environment(), n_values, n_requests))
                else:
                    outcome = measure.run_ghost(command, a.library, FROZEN_LIMIT_PAGES, mode, True)
                    rates[mode].append(server.run(server.environment(a.library, redis_limit, mode), n_values, n_requests))
                runs[mode].append(self.keep(f"guard, {mode}", outcome))

        def figure(mode, phase):
            good = [o.ns(phase) for o in runs[mode] if not o.reason and o.ns(phase) is not None]
            return median(good) if good else "n/a"

        def rate(mode):
            good = [per_s for per_s, _ in rates[mode] if per_s]
            return median(good) if good else "n/a"

        floor = [figure("floor", name) for name in ("trap_copy", "decompress")]
        floor_ns = sum(floor) if "n/a" not in floor else "n/a"
        for backend in a.backends:
            notes = [o.reason for mode in ("floor", "plain", backend) for o in runs[mode]]
            for phase, work in (("thaw_median", "random thaw, median"), ("thaw_p99", "random thaw, 99th percentile")):
                ghost = figure(backend, phase)
                key = f"{phase} {backend}" if phase == "thaw_median" else phase
                self.add(section, key, f"{work} [{backend}]", "ns", notes, ghost=ghost, floor=floor_ns, vs_floor=measure.ratio(ghost, floor_ns))
            for phase, work in (("readcall", "read(2) of 1 MiB into frozen memory"), ("getppid", "getppid()"),
                                ("pingpong", "1 byte to another thread and back")):
                plain, ghost = figure("plain", phase), figure(backend, phase)
                self.add(section, phase, f"{work} [{backend}]", "ns", notes, plain=plain, ghost=ghost, slowdown=measure.ratio(ghost, plain))
            plain, ghost = rate("plain"), rate(backend)
            self.add(section, "redis", f"redis, GETs of {server.VALUE_BYTES} bytes, limit 25 % [{backend}]", "1/s",
                     [why for mode in ("plain", backend) for _, why in rates[mode]], plain=plain, ghost=ghost, slowdown=measure.ratio(plain, ghost))

    # ---- the swap file ----

    def swap(self):
        a = self.a
        phases = ["fill", "seqread", "sequpdate", "randread", "randupdate"]
        n_bytes = (128 if a.quick else 2048) * MIB
        limit_bytes = n_bytes // 16
        # What the process itself needs: pool, tables, kept images, its own code. The rest would be page cache.
        cgroup_bytes = limit_bytes + limit_bytes // 8 + n_bytes // 64 + 8 * MIB
        command = [a.workload, "--bytes", str(n_bytes), "--ops", str(n_bytes // MIB * 10), ",".join(phases) + ",verify"]
        backend = a.backends[0]

        def once(mode):
            if mode == "disk":
                return measure.run_cgroup(command, limit_bytes, a.swap, 2 * n_bytes)
            return measure.run_ghost(command, a.library, limit_bytes // measure.PAGE_BYTES, backend, True,
                                     swap=None if mode == "in_ram" else a.swap,
                                     cgroup_bytes=cgroup_bytes if mode == "tight" else None)

        runs = {mode: [] for mode in ("in_ram", "disk", "ghost", "tight")}
        for i in range(a.runs):
            for mode in runs:
                self.say(f"swap file: {mode}, run {i + 1} of {a.runs}")
                runs[mode].append(self.keep(f"swap file, {mode}", once(mode)))
        notes = [o.reason for outcomes in runs.values() for o in outcomes]

        def figure(mode, phase):
            good = [o.ns(phase) for o in runs[mode] if not o.reason and o.ns(phase) is not None]
            return median(good) if good else "n/a"

        for mode, how in (("ghost", "page cache to spare"), ("tight", f"all in {cgroup_bytes // MIB} MiB")):
            section = f"swap file: {n_bytes // MIB} MiB of text, limit {limit_bytes // MIB} MiB, {how}"
            for phase in phases:
                ghost, disk = figure(mode, phase), figure("disk", phase)
                self.add(section, "swap " + phase, f"{NAMES[phase]} [{backend}]", "ns/access", notes, ghost=ghost,
                         in_ram=figure("in_ram", phase), disk=disk, vs_disk=measure.ratio(disk, ghost))
            self.swap_memory(section, [o for o in runs[mode] if not o.reason], limit_bytes)

    def swap_memory(self, section, good, limit_bytes):
        if not good:
            return

        def stat(o, key):
            return int(o.stats[key])

        peak = [o.peak_rss_bytes - limit_bytes - max(stat(o, "pool_held_bytes"), limit_bytes // 8) - stat(o, "meta_bytes")
                for o in good if o.peak_rss_bytes]
        peak_rss = median(o.peak_rss_bytes or 0 for o in good) / MIB
        over = max(peak) / MIB if peak else "n/a"
        self.add(section, "swap rss", f"peak RSS {round(peak_rss)} MiB, above limit + buffer + tables", "MiB", ghost=over, value=over)
        above = max(stat(o, "limit_exceeded_pages_peak") for o in good)
        self.add(section, "swap limit", "resident above the limit at worst", "pages", ghost=above, value=above)
        file_mib = median(stat(o, "swap_file_bytes") for o in good) / MIB
        live_mib = median(stat(o, "swap_used_bytes") for o in good) / MIB
        self.add(section, "swap file", f"file at the end, for {round(live_mib)} MiB of live images", "MiB", ghost=file_mib)
        written = median(stat(o, "swap_written_bytes") / stat(o, "images_made_bytes") for o in good)
        self.add(section, "swap written", "bytes written by compressed bytes frozen", "ratio", ghost=written, value=written)

    @staticmethod
    def median_us(outcomes, phase):
        good = [o.ns(phase) / 1000 for o in outcomes if not o.reason and o.ns(phase) is not None]
        return median(good) if good else "n/a"


def main():
    a = parse_arguments()
    # As Ctrl-C does: so that a run under way takes its swap device down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(a)
    # The first touch of memory that the machine itself has to find first (a virtual one, above all) is several times as slow.
    measure.run_plain([a.workload, "--bytes", str(a.bytes * 3 // 2), "fill"])
    bench.say(f"this will take about {estimate.minutes(a)} minutes" if not a.quick else "a quick run: two minutes at the most")
    for section in SECTIONS:
        if section in a.sections:
            start = time.monotonic()
            bench.measure(section)
            bench.say(f"{section} took {time.monotonic() - start:.0f} s")
    date = datetime.date.today().isoformat()
    result = {"date": date, "machine": measure.describe_machine(),
              "settings": {"runs": a.runs, "quick": a.quick, "issue": a.issue, "block_bytes": a.bytes, "limits_percent": a.limits,
                           "data": a.data, "backends": a.backends},
              "rows": bench.rows, "runs": bench.raw}
    sys.stdout.write(report.as_markdown(result) if a.markdown else report.as_text(result))
    path = a.json
    if path is None and not a.quick:
        os.makedirs(os.path.join(measure.HERE, "results"), exist_ok=True)
        path = os.path.join(measure.HERE, "results", date + ".json")
    if path is not None:
        report.write_json(result, path)
    for text in bench.failures:
        print(f"bench: FAILED {text}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
