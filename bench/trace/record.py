#!/usr/bin/env python3
"""record.py - record which pages real programs touch, for build/bench/simulate.

    record.py DIRECTORY [PROGRAM ...]

Each program runs under build/trace/libghostmem.so with a limit of 16 pages, small enough to take a few minutes; DIRECTORY/PROGRAM.trace
gets its accesses (bench/trace/record.c). The inputs are drawn from a fixed seed. Exit: 0; 1 a program failed; 2 bad usage.
"""

import os
import random
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY = os.path.join(TOP, "build", "trace", "libghostmem.so")
LIMIT_PAGES = 16
TIMEOUT_S = 110

SQL = """
PRAGMA cache_size = -60000;
CREATE TABLE item(id INTEGER PRIMARY KEY, owner INTEGER, body TEXT);
CREATE TABLE owner(id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
    INSERT INTO item SELECT i, (i * 7919) % 2000, printf('%0100d', i * 31) FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999)
    INSERT INTO owner SELECT i, printf('%040d', i) FROM n;
CREATE INDEX by_owner ON item(owner);
SELECT count(*), sum(length(name)) FROM item JOIN owner ON owner.id = item.owner WHERE item.id % 3 = 0;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    SELECT sum(length(body)) FROM n JOIN item ON item.id = 1 + (n.i * n.i * 48271) % 60000 % (1 + n.i % 6000);
UPDATE item SET body = printf('%0100d', id) WHERE owner % 10 = 3;
SELECT owner, count(*) AS c FROM item GROUP BY owner ORDER BY c DESC, owner LIMIT 3;
"""

KMEANS = """
import numpy as np
r = np.random.default_rng(1)
points = r.random((120000, 8))
centres = points[:16].copy()
for _ in range(6):
    distances = np.stack([((points - c) ** 2).sum(axis=1) for c in centres])
    nearest = distances.argmin(axis=0)
    for k in range(16):
        centres[k] = points[nearest == k].mean(axis=0)
print(centres.sum())
"""

JOIN = """
import numpy as np
r = np.random.default_rng(2)
keys = r.permutation(1 << 20)
values = r.random(1 << 20)
wanted = r.zipf(1.2, 300000) % (1 << 20)
order = np.argsort(keys)
found = values[order[np.searchsorted(keys, wanted, sorter=order)]]
print(np.bincount(wanted % 1000, weights=found).sum())
"""


def text(path, n_bytes):
    """Lines of words, the common ones often."""
    draw = random.Random(7)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(3000)]
    weights = [1 / (i + 1) for i in range(len(words))]
    with open(path, "w", encoding="ascii") as out:
        n = 0
        while n < n_bytes:
            n += out.write(" ".join(draw.choices(words, weights, k=draw.randint(3, 12))) + "\n")


def commands(scratch):
    lines = os.path.join(scratch, "lines")
    text(lines, 6 << 20)
    return {
        "sort": ["sort", "--parallel=1", "-S", "64M", lines],
        "sqlite": ["sqlite3", ":memory:", SQL],
        "kmeans": ["/usr/bin/python3", "-c", KMEANS],
        "join": ["/usr/bin/python3", "-c", JOIN],
        "xz": ["xz", "-2", "-T1", "-k", "-c", lines],
        "zstd": ["zstd", "-12", "-c", "--single-thread", lines],
    }


def record(name, command, path):
    if os.path.exists(path):
        os.remove(path)
    environment = dict(os.environ, LD_PRELOAD=LIBRARY, PAGE_TRACE=path, GHOSTMEM_MAX_PAGES=str(LIMIT_PAGES),
                       GHOSTMEM_THRESHOLD="4096", GHOSTMEM_FAULTS="signal", LC_ALL="C", OPENBLAS_NUM_THREADS="1")
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"{name}: cut off after {TIMEOUT_S} s", file=sys.stderr)
    else:
        if done.returncode != 0:
            print(f"{name}: status {done.returncode}: {done.stderr[-300:]!r}", file=sys.stderr)
            return False
    with open(path, "r+b") as trace:
        n = int.from_bytes(trace.read(4), "little")
        trace.truncate(4 * (n + 1))
    print(f"{name}: {n} accesses")
    return True


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    os.makedirs(sys.argv[1], exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        all_commands = commands(scratch)
        names = sys.argv[2:] or list(all_commands)
        results = [record(name, all_commands[name], os.path.join(sys.argv[1], name + ".trace")) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
