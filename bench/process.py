"""process.py - the section `process`: programs whose memory is in small blocks and mappings of their own, with the limit on the whole process.

The limit is a share of the program's own peak RSS. GhostMem (GHOSTMEM_SCOPE=process) and the kernel (a memory cgroup of the same limit with
zram/lz4) have it in turns, plain beside them. Wall times, and what stands in RAM: the process's peak RSS less the limit, images, tables
and what is not managed; what is left is the 8 MiB that the target allows.

All outputs go through cksum and must be the same. A program that is not installed has no figures.
"""

import os
import shutil
import tempfile
from statistics import median

import measure

MIB = 2**20
TIMEOUT_S = 120  # what has not finished by then counts as that long
PYTHON = "/usr/bin/python3"  # Debian's; the first in PATH may be another

PYTHON_DICTS = """
d = {{i: str(i) * 3 for i in range({n})}}
print(sum(len(v) for v in d.values()))
for i in range(0, {n}, 7): d[i] = d[i][::-1]
e = {{k: [v] for k, v in d.items() if k % 3}}
print(len(e), sum(len(v[0]) for v in e.values()))
"""
PYTHON_JSON = """
import json
rows = [{{'id': i, 'name': 'n%d' % i, 'tags': [i, i * 2]}} for i in range({n})]
text = json.dumps(rows)
back = json.loads(text)
print(len(text), sum(r['tags'][1] for r in back))
"""
PERL_HASH = """
my %h; for my $i (0 .. {n}) {{ $h{{"k$i"}} = "v$i" x 3 }}
my $n = 0; for my $k (sort keys %h) {{ $n += length $h{{$k}} }} print "$n\\n";
for (my $i = 0; $i < {n}; $i += 5) {{ delete $h{{"k$i"}} }} print scalar(keys %h), "\\n";
"""
GAWK_ARRAY = """BEGIN {{ for (i = 0; i < {n}; i++) a["k" i] = "v" i; n = 0; for (k in a) n += length(a[k]); print n
for (i = 0; i < {n}; i += 7) a["k" i] = a["k" i] "x"; n = 0; for (k in a) n += length(a[k]); print n }}"""
LUA_TABLE = """
local t = {{}} for i = 1, {n} do t[i] = {{id = i, name = "n" .. i}} end
local s = 0 for i = 1, #t do s = s + #t[i].name end print(s)
for i = 1, #t, 3 do t[i].name = t[i].name .. "x" end s = 0 for i = 1, #t do s = s + #t[i].name end print(s)
"""
RUBY_HASH = """
h = {{}}; {n}.times {{ |i| h["k#{{i}}"] = "v#{{i}}" * 3 }}; p h.values.sum(&:size)
h.each {{ |k, v| h[k] = v.reverse }}; p h.values.sum(&:size)
"""
PHP_ARRAY = """$a = []; for ($i = 0; $i < {n}; $i++) $a["k$i"] = "v$i"; $n = 0; foreach ($a as $v) $n += strlen($v); echo $n, "\\n";
for ($i = 0; $i < {n}; $i += 5) unset($a["k$i"]); echo count($a), "\\n";"""
NODE_MAP = """
const m = new Map(); for (let i = 0; i < {n}; i++) m.set('k' + i, {{a: i, b: 'v' + i}});
let s = 0; for (const [k, v] of m) s += v.a + v.b.length; console.log(s);
for (let i = 0; i < {n}; i += 3) m.delete('k' + i); console.log(m.size)
"""
SQLITE = """
CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {n})
INSERT INTO t SELECT x, printf('%08x', x * 2654435761 % 4294967296) || 'abcdefgh' FROM c;
CREATE INDEX i ON t (b); SELECT count(*), sum(length(b)) FROM t;
SELECT a FROM t ORDER BY b LIMIT 5; UPDATE t SET b = b || 'z' WHERE a % 3 = 0; SELECT sum(length(b)) FROM t;
"""
JQ = "[range({n}) | {{k: \"k\\(.)\", v: [., . * 2]}}] | group_by(.v[0] % 10) | map(length) | add"
JAVA_MAP = """
import java.util.HashMap;
public class Work {{
    public static void main(String[] args) {{
        HashMap<String, int[]> m = new HashMap<>();
        for (int i = 0; i < {n}; i++) m.put("k" + i, new int[] {{i, i * 2}});
        long s = 0;
        for (var e : m.entrySet()) s += e.getValue()[1] + e.getKey().length();
        System.out.println(s);
        for (int i = 0; i < {n}; i += 3) m.remove("k" + i);
        System.out.println(m.size());
    }}
}}
"""
R_VECTORS = """l <- lapply(1:{n}, function(i) c(i, i * 2)); cat(sum(sapply(l, sum)), "\\n")
x <- sort(runif(1)); d <- data.frame(a = seq_len({n}), b = paste0("v", seq_len({n}))); cat(nrow(d), sum(nchar(d$b)), "\\n")"""
C_PROGRAM = """
#include <map>
#include <string>
#include <vector>
#include <algorithm>
#include <regex>
#include <iostream>
#include <functional>
#include <unordered_map>
int main() {{ std::map<std::string, std::vector<int>> m; std::regex r("a+b"); std::unordered_map<int, std::function<int(int)>> f;
for (int i = 0; i < {n}; i++) m[std::to_string(i)].push_back(i); std::cout << m.size() << std::regex_match("aab", r) << f.size(); }}
"""


class Work:
    """@command as a list, of @program, which must be installed."""

    def __init__(self, name, program, command):
        self.name, self.program, self.command = name, program, command


def written(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def works(directory, is_quick):
    share = 20 if is_quick else 1

    def n(number):
        return number // share

    def text(template, number):
        return template.format(n=n(number))

    java = ["java", "-Xshare:auto", "-Xmx400m"]
    work_java = written(directory, "Work.java", text(JAVA_MAP, 600_000))
    source = written(directory, "work.cc", text(C_PROGRAM, 100))
    return {
        "python dicts": Work("python3: dicts of strings", PYTHON, [PYTHON, "-I", "-c", text(PYTHON_DICTS, 800_000)]),
        "python json": Work("python3: json", PYTHON, [PYTHON, "-I", "-c", text(PYTHON_JSON, 300_000)]),
        "perl": Work("perl: a hash", "perl", ["perl", "-e", text(PERL_HASH, 700_000)]),
        "gawk": Work("gawk: an array", "gawk", ["gawk", text(GAWK_ARRAY, 900_000)]),
        "lua": Work("lua: tables", "lua5.4", ["lua5.4", "-e", text(LUA_TABLE, 800_000)]),
        "ruby": Work("ruby: a hash", "ruby", ["ruby", "-e", text(RUBY_HASH, 700_000)]),
        "php": Work("php: an array", "php", ["php", "-d", "memory_limit=-1", "-r", text(PHP_ARRAY, 1_500_000)]),
        "node": Work("node: a Map of objects", "node", ["node", "-e", text(NODE_MAP, 600_000)]),
        "java serial": Work("java: HashMap, Serial", "java", [*java, "-XX:+UseSerialGC", work_java]),
        "java parallel": Work("java: HashMap, Parallel", "java", [*java, "-XX:+UseParallelGC", work_java]),
        "java g1": Work("java: HashMap, G1", "java", [*java, "-XX:+UseG1GC", work_java]),
        "jq": Work("jq: objects", "jq", ["jq", "-n", text(JQ, 300_000)]),
        "sqlite3": Work("sqlite3: in memory", "sqlite3", ["sqlite3", ":memory:", text(SQLITE, 1_200_000)]),
        "R": Work("R: lists and strings", "R", ["R", "--vanilla", "--slave", "-e", text(R_VECTORS, 700_000)]),
        "g++": Work("g++ -O2: one file of C++", "g++", ["g++", "-O2", "-S", "-o", "-", source]),
    }



NAMES = ["python dicts", "python json", "perl", "gawk", "lua", "ruby", "php", "node", "java serial", "java parallel", "java g1", "jq",
         "sqlite3", "R", "g++"]


def run_once(bench, work, mode, limit_bytes):
    if mode == "plain":
        outcome = measure.run_plain(work.command, measure.CKSUM)
    elif mode == "zram":
        outcome = measure.run_zram(work.command, limit_bytes, measure.CKSUM)
    else:
        outcome = measure.run_ghost(work.command, bench.a.library, limit_bytes // measure.PAGE_BYTES, mode, True, measure.CKSUM,
                                    settings={"GHOSTMEM_SCOPE": "process"})
    return bench.keep(f"process, {work.name}, {mode}, limit {limit_bytes // MIB} MiB", outcome)


def excess_bytes(outcome, limit_bytes):
    """Of the peak RSS, what neither limit, images, tables nor unmanaged memory explain. Images and unmanaged memory have their peaks at
    other times, mostly: so it is a lower bound."""
    stats = outcome.stats
    return (outcome.peak_rss_bytes - limit_bytes - int(stats["pool_held_bytes_peak"]) - int(stats["meta_bytes"])
            - int(stats["unmanaged_bytes"]))


def measure_limit(bench, work, percent, need_bytes, cksum, plain_s):
    a = bench.a
    limit_bytes = need_bytes * percent // 100
    runs = {mode: [] for mode in (*a.backends, "zram")}
    for i in range(a.runs):
        for mode, outcomes in runs.items():
            bench.say(f"process: {work.name}, {mode}, limit {percent} %, run {i + 1} of {a.runs}")
            outcome = run_once(bench, work, mode, limit_bytes)
            if not outcome.reason and outcome.cksum != cksum:
                outcome.reason = f"{mode}: another output than plain"
                bench.failures.append(f"{work.name}: {outcome.reason}")
            outcomes.append(outcome)

    def figure(mode):
        good = [o.wall_s for o in runs[mode] if not o.reason or o.is_late]
        return median(good) if good else "killed" if any(o.is_killed for o in runs[mode]) else "n/a"

    zram = figure("zram")
    for backend in a.backends:
        ghost = figure(backend)
        good = [o for o in runs[backend] if not o.reason]
        notes = [o.reason for mode in (backend, "zram") for o in runs[mode]] + [runs["zram"][-1].remark]
        cannot_compare = any(o.is_above for o in runs["zram"])
        both_late = any(o.is_late for o in runs[backend]) and any(o.is_late for o in runs["zram"])
        name = f"{work.name}, of {need_bytes // MIB} MiB [{backend}]"
        bench.add(f"process: wall time, limit {percent} % of the program's peak RSS", "process", name, "s", notes, plain=plain_s, ghost=ghost,
                  zram=zram, slowdown=measure.ratio(ghost, plain_s),
                  vs_zram="n/a" if cannot_compare or both_late else measure.ratio(zram, ghost))
        peak = median(o.peak_rss_bytes for o in good) / MIB if good else "n/a"
        excess = max(excess_bytes(o, limit_bytes) for o in good) / MIB if good else "n/a"
        bench.add(f"process: peak RSS above limit {percent} %, images, tables and what is not managed", "process rss",
                  f"{name}, peak {peak if peak == 'n/a' else round(peak)} MiB", "MiB", ghost=excess, value=excess)


def measure_work(bench, work):
    bench.say(f"process: {work.name}: what it needs")
    plain = [run_once(bench, work, "plain", 0) for _ in range(max(2, bench.a.runs))]
    good = [o for o in plain if not o.reason]
    if not good:
        bench.add("process", "process", work.name, "s", [o.reason for o in plain], plain="n/a", ghost="n/a", zram="n/a", vs_zram="n/a")
        return
    need_bytes = int(median(o.peak_rss_bytes for o in good))
    for percent in bench.a.limits:
        measure_limit(bench, work, percent, need_bytes, good[-1].cksum, median(o.wall_s for o in good))


def run(bench):
    before, measure.timeout_s = measure.timeout_s, TIMEOUT_S
    with tempfile.TemporaryDirectory(prefix="ghostmem-bench-") as directory:
        known = works(directory, bench.a.quick)
        for name in bench.a.processes:
            if shutil.which(known[name].program):
                measure_work(bench, known[name])
            else:
                bench.add("process", "process", name, "s", [f"{known[name].program} is not installed"], plain="n/a", ghost="n/a", zram="n/a",
                          vs_zram="n/a")
    measure.timeout_s = before
