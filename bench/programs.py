"""programs.py - the section `programs`: real programs with a limit below their need, GhostMem beside zram, by wall time.

What a program needs is found first, by two runs. One with GhostMem whose limit is never reached, whose mappings are looked at again
and again: the peak of its resident ghost memory is what the limits are per cents of (what it asks for and never touches is left
out). One on plain malloc in a cgroup that is never full: what the kernel counts there beyond that peak (stacks, small blocks, page tables;
libraries that are in RAM already count nowhere) is what zram's cgroup is given on top of GhostMem's limit, for GhostMem limits ghost memory
alone, a cgroup everything.

Where zram could not keep its limit (cgroup.sh) and had over a tenth more RAM, its time is shown, and not compared.

Outputs go through cksum outside of the cgroup, and must be the same in each run; Redis's client checks every answer.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from statistics import median

import measure
import server

MIB = 2**20
SAMPLE_S = 0.02
TIMEOUT_S = 90  # what has not finished by then counts as that long
NO_LIMIT_PAGES = 2 * 2**30 // measure.PAGE_BYTES
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's numpy; the first in PATH may be another
VALUE_BYTES = 64 * 1024
# SQLite keeps pages of 4096 bytes, each with a header, in blocks of their own; with --pagecache in one big one. The slots:
SLOT_BYTES = 4096 + 272

SQL = """
PRAGMA temp_store = MEMORY;
PRAGMA journal_mode = OFF;
CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, name TEXT, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO t SELECT i, (i * 2654435761) % 1000003, printf('name%08x', (i * 40503) % 1048573),
    replace(hex(zeroblob(i % 20 + 10)), '00', 'row ' || (i % 977) || ' ') FROM n;
CREATE INDEX t_name ON t (name, k);
UPDATE t SET k = k + 1 WHERE id % 10 = 3;
SELECT count(*), sum(k), sum(length(body)), min(name), max(name) FROM t;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {lookups})
SELECT sum(length(t.body)), sum(t.k) FROM n JOIN t ON t.id = (n.i * 7919) % {rows} + 1;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {lookups})
SELECT sum(t.k) FROM n JOIN t ON t.name = printf('name%08x', (n.i * 104729) % 1048573);
"""


class Work:
    """One program, and for a server the command that makes it work, checks its answers, ends it and prints the seconds that took."""

    def __init__(self, name, command, settings=None, client=None):
        self.name, self.command, self.settings, self.client = name, command, settings or {}, client
        self.seconds = self.problem = None  # what the client said last

    def drive(self, pid):
        """While the server runs as @pid (or below that process)."""
        done = subprocess.run(self.client, capture_output=True, text=True, check=False)
        self.seconds = self.problem = None
        if done.returncode == 0:
            self.seconds = float(done.stdout)
            return
        self.problem = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "its client failed"
        os.kill(pid, signal.SIGTERM)  # not yet waited for: the number is still its own

    def drive_or_none(self):
        return self.drive if self.client else None

    def finish(self, outcome, who):
        """Its own time, and what its client found wrong with the server, beside what @who ran it found."""
        if self.client:
            outcome.wall_s = outcome.wall_s if outcome.is_late else self.seconds
            outcome.cksum = "checked by its client"
            if self.problem and not outcome.is_killed and not outcome.is_late:
                outcome.reason = f"{who}: {self.problem}" + (f" ({outcome.reason})" if outcome.reason else "")
        return outcome


def text_file(bench, directory, kib):
    path = os.path.join(directory, f"{kib}.txt")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            subprocess.run([bench.a.workload, "--emit", f"{kib}K"], stdout=file, check=True)
    return path


def sort_work(bench, directory):
    mib = 8 if bench.a.quick else 64
    return Work(f"GNU sort of {mib} MiB of text",
                ["sort", "--parallel=2", "-S", "512M", "-T", directory, text_file(bench, directory, mib * 1024)])


def xz_work(bench, directory):
    # Every position is looked up in tables of 100 MiB and more: a small text is many random accesses.
    kib = 256 if bench.a.quick else 1024
    return Work(f"xz -9 -T1 of {kib} KiB of text", ["xz", "-9", "-T1", "-k", "-c", text_file(bench, directory, kib)])


def numpy_work(bench, _directory):
    mib = 16 if bench.a.quick else 256
    return Work(f"numpy: sort, product, gather, {mib} MiB", [PYTHON, "-I", "-B", os.path.join(measure.HERE, "arrays.py"), str(mib)])


def sqlite_work(bench, directory):
    rows = 20_000 if bench.a.quick else 600_000
    script = os.path.join(directory, "work.sql")
    with open(script, "w", encoding="ascii") as file:
        file.write(SQL.format(rows=rows, lookups=rows // 4))
    n_slots = rows * 53 // 1000  # as many as are needed: more, and it would write to those it never uses too
    return Work(f"sqlite3 in memory, {rows:,} rows",
                ["sqlite3", "-batch", "-pagecache", str(SLOT_BYTES), str(n_slots), ":memory:", f".read {script}"])


def redis_work(bench, directory):
    n_values, n_requests = (200, 1000) if bench.a.quick else (4000, 20_000)
    socket = os.path.join(directory, "redis.socket")
    text = text_file(bench, directory, (8 if bench.a.quick else 128) * 1024)
    name = os.path.join(directory, "redis-server")  # it looks at its name to know what it is
    if not os.path.islink(name):
        os.symlink(server.SERVER, name)
    client = [PYTHON, "-I", os.path.join(measure.HERE, "client.py"), socket, text, str(VALUE_BYTES), str(n_values), str(n_requests)]
    return Work(f"redis, {n_values:,} values of 64 KiB, {n_requests:,} requests",
                [name, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory],
                {"GHOSTMEM_THRESHOLD": "32K"}, client)


WORKS = {"sort": sort_work, "xz": xz_work, "numpy": numpy_work, "sqlite3": sqlite_work, "redis": redis_work}


def ghost_resident_bytes(pid):
    """Of a process under GhostMem; 0 when it has ended. The range of ghost memory ends in the largest mapping that nobody may
    access, the part of it that was never used; what stands right before that is in use."""
    try:
        with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return 0
    maps = []  # [start, end, access, resident]
    for line in lines:
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(word, 16) for word in words[0].split("-"))
            maps.append([start, end, words[1], 0])
        elif words[0] == "Rss:":
            maps[-1][3] = int(words[1]) * 1024
    unused = max((i for i, m in enumerate(maps) if m[2].startswith("---")), key=lambda i: maps[i][1] - maps[i][0], default=0)
    ghost = 0
    i = unused - 1
    while i >= 0 and maps[i][2].startswith("rw") and maps[i][1] == maps[i + 1][0]:
        ghost += maps[i][3]
        i -= 1
    return ghost


class Need:
    """What a program takes when nothing limits it."""

    def __init__(self):
        self.ghost_bytes = 0  # peak of the resident ones
        self.other_bytes = 0  # all else that a cgroup counts

    def watch(self, work, pid):
        driver = threading.Thread(target=work.drive, args=(pid,)) if work.client else None
        if driver:
            driver.start()
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            self.ghost_bytes = max(self.ghost_bytes, ghost_resident_bytes(pid))
            time.sleep(SAMPLE_S)
        if driver:
            driver.join()


def run_once(bench, work, mode, limit_bytes, need):
    watch = work.drive_or_none()
    output = measure.NOTHING if work.client else measure.CKSUM
    if mode == "plain":
        outcome = measure.run_plain(work.command, output, watch)
    elif mode == "zram":
        outcome = measure.run_zram(work.command, limit_bytes + need.other_bytes, output, watch)
    else:
        outcome = measure.run_ghost(work.command, bench.a.library, limit_bytes // measure.PAGE_BYTES, mode, True, output,
                                    settings=work.settings, watch=watch)
    return bench.keep(f"programs, {work.name}, {mode}, limit {limit_bytes // MIB} MiB",
                      work.finish(outcome, mode if mode in ("plain", "zram") else f"GhostMem {mode}"))


def find_need(bench, work):
    """Also the run that warms up: the file's pages are in the page cache from here on. (need, cksum, None) or why not."""
    need = Need()
    output = measure.NOTHING if work.client else measure.CKSUM
    outcome = work.finish(measure.run_ghost(work.command, bench.a.library, NO_LIMIT_PAGES, bench.a.backends[0], False, output,
                                            settings=work.settings, watch=lambda pid: need.watch(work, pid)), "GhostMem without a limit")
    bench.keep(f"programs, {work.name}, its need", outcome)
    if outcome.reason or need.ghost_bytes < MIB:
        return None, None, outcome.reason or f"{work.name}: no ghost memory was seen"
    roomy = work.finish(measure.run_cgroup(work.command, NO_LIMIT_PAGES * measure.PAGE_BYTES, "none", 0, output, work.drive_or_none()),
                        "a cgroup that is never full")
    # Where no cgroup can be had there is no zram to compare with either.
    need.other_bytes = max(0, int(roomy.stats.get("cgroup_usage_max_bytes", 0)) - need.ghost_bytes)
    bench.say(f"programs: {work.name}: {need.ghost_bytes / MIB:.0f} MiB of ghost memory and {need.other_bytes / MIB:.1f} MiB of other")
    return need, outcome.cksum, None


def measure_work(bench, work):
    a = bench.a
    bench.say(f"programs: {work.name}: what it needs")
    need, cksum, why = find_need(bench, work)
    if why:
        bench.add("programs", "program", work.name, "s", [why], plain="n/a", ghost="n/a", zram="n/a", vs_zram="n/a")
        return
    limits = {percent: need.ghost_bytes * percent // 100 for percent in a.limits}
    cells = [("plain", None), *((mode, percent) for percent in a.limits for mode in (*a.backends, "zram"))]
    runs = {cell: [] for cell in cells}
    for i in range(a.runs):
        for mode, percent in cells:
            bench.say(f"programs: {work.name}, {mode}{f', limit {percent} %' if percent else ''}, run {i + 1} of {a.runs}")
            outcome = run_once(bench, work, mode, limits.get(percent, 0), need)
            if not outcome.reason and outcome.cksum != cksum:
                outcome.reason = f"{mode}: another output than without a limit"
                bench.failures.append(f"{work.name}: {outcome.reason}")
            runs[mode, percent].append(outcome)

    def figure(cell):
        good = [o.wall_s for o in runs[cell] if not o.reason or o.is_late]
        return median(good) if good else "killed" if any(o.is_killed for o in runs[cell]) else "n/a"

    plain = figure(("plain", None))
    for percent in a.limits:
        section = f"programs: wall time, limit {percent} % of the ghost memory that the program touches"
        for backend in a.backends:
            ghost, zram = figure((backend, percent)), figure(("zram", percent))
            notes = [o.reason for cell in (("plain", None), (backend, percent), ("zram", percent)) for o in runs[cell]]
            notes += [runs["zram", percent][-1].remark]
            both_late = any(o.is_late for o in runs[backend, percent]) and any(o.is_late for o in runs["zram", percent])
            cannot_compare = both_late or any(o.is_above for o in runs["zram", percent])
            bench.add(section, "program", f"{work.name}, of {need.ghost_bytes // MIB} MiB [{backend}]", "s", notes, plain=plain, ghost=ghost,
                      zram=zram, slowdown=measure.ratio(ghost, plain), vs_zram="n/a" if cannot_compare else measure.ratio(zram, ghost))


def run(bench):
    before, measure.timeout_s = measure.timeout_s, TIMEOUT_S
    with tempfile.TemporaryDirectory(prefix="ghostmem-bench-") as directory:
        for name in bench.a.programs:
            program = {"numpy": PYTHON, "redis": server.SERVER}.get(name, name)
            if shutil.which(program):
                measure_work(bench, WORKS[name](bench, directory))
            else:
                bench.add("programs", "program", name, "s", [f"{name} is not installed"], plain="n/a", ghost="n/a", zram="n/a", vs_zram="n/a")
    measure.timeout_s = before
