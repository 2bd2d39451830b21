"""measure.py - runs one program on plain malloc, under GhostMem or in zram's cgroup, and says what it took.

Every function that cannot measure returns a reason instead of a figure: nothing here guesses.
"""

import json
import os
import platform
import signal
import subprocess
import tempfile
import time

PAGE_BYTES = 4096
timeout_s = 900  # of one run; a section may set another
ZRAM_UNAVAILABLE = 77  # cgroup.sh's exit status
HERE = os.path.dirname(os.path.abspath(__file__))


def ratio(over, under):
    return over / under if isinstance(over, (int, float)) and isinstance(under, (int, float)) and under > 0 else "n/a"


class Outcome:
    """What one run gave. `reason` is None when all of it may be used."""

    def __init__(self):
        self.reason = None
        self.is_killed = False
        self.is_late = False        # not finished after timeout_s, which is what wall_s says then
        self.wall_s = None
        self.peak_rss_bytes = None  # of the measured process; None for zram, where a script stands in between
        self.phases = {}            # name -> (ns an access, accesses, seconds)
        self.stats = {}             # GhostMem's, or what cgroup.sh reports
        self.is_above = False       # it had more than a tenth more RAM than its limit: no rival at that limit
        self.remark = None          # what should be known of figures that may be used
        self.cksum = None           # of the output, where that was asked for

    def ns(self, phase):
        return self.phases[phase][0] if phase in self.phases else None


def take_output(output, text, outcome):
    if output == CKSUM:
        outcome.cksum = text.strip()
    elif output == LINES:
        parse_lines(text, outcome)


def parse_lines(text, outcome):
    """The output of workload or floor: `name number number [number]`, remarks with #, and `name n/a reason`."""
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["#", "VmHWM_bytes"]:
            outcome.peak_rss_bytes = max(outcome.peak_rss_bytes or 0, int(words[2]))
        elif len(words) >= 3 and words[0] != "#" and words[1] != "n/a":
            outcome.phases[words[0]] = tuple(float(w) for w in words[1:])


LINES, NOTHING, CKSUM = "lines", "nothing", "cksum"  # what becomes of a program's output: read as lines of phases, dropped, or summed up


def spawn(command, environment, output, watch=None):
    """Run to the end. Returns (status, wall_s, peak_rss_bytes, text, stderr); status as a shell gives it, 124 after timeout_s;
    text is the output, or what cksum says of it. watch(pid) is called while it runs, and returns when it has ended."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        summer = None
        if output == CKSUM:  # outside of the program's cgroup, and no page cache that would count there
            summer = subprocess.Popen(["cksum"], stdin=subprocess.PIPE, stdout=out)
        sink = {LINES: out, NOTHING: subprocess.DEVNULL, CKSUM: summer and summer.stdin}[output]
        start = time.perf_counter()
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=err, stdout=sink)
        # wait4 for this child's own peak; a signal, not a thread that polls, for the limit on its time.
        is_late = []

        def on_alarm(_number, _frame):
            is_late.append(True)
            child.terminate()  # not SIGKILL: cgroup.sh takes its swap device down first

        previous = signal.signal(signal.SIGALRM, on_alarm)
        signal.alarm(timeout_s)
        try:
            if watch:
                watch(child.pid)
            _, wait_status, usage = os.wait4(child.pid, 0)
        except BaseException:  # Ctrl-C: the child may be holding a swap device
            child.terminate()
            child.wait()
            raise
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        wall_s = time.perf_counter() - start
        code = os.waitstatus_to_exitcode(wait_status)
        child.returncode = code  # waited for behind Popen's back
        status = LATE if is_late else code if code >= 0 else 128 - code
        if summer:
            summer.stdin.close()
            summer.wait()
        out.seek(0)
        err.seek(0)
        return status, wall_s, usage.ru_maxrss * 1024, out.read().decode(errors="replace"), err.read().decode(errors="replace")


def base_environment():
    """Ours, without settings that would change what is measured."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith("GHOSTMEM_") and k != "LD_PRELOAD"}
    keep["LC_ALL"] = "C"
    return keep


LATE = 124  # the status of a run that was ended after timeout_s


def note_late(outcome, name):
    outcome.is_late, outcome.wall_s = True, timeout_s
    outcome.reason = f"{name}: not finished after {timeout_s} s"


def failure(status, stderr):
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return f"exit status {status}" + (f": {lines[-1][:160]}" if lines else "")


def run_plain(command, output=LINES, watch=None):
    outcome = Outcome()
    status, outcome.wall_s, outcome.peak_rss_bytes, text, stderr = spawn(command, base_environment(), output, watch)
    take_output(output, text, outcome)
    if status != 0:
        outcome.reason = "plain: " + failure(status, stderr)
    return outcome


def flatten(stats):
    flat = {}
    for key, value in stats.items():
        flat.update(flatten(value) if isinstance(value, dict) else {key: value})
    return flat


def run_ghost(command, library, limit_pages, backend, must_engage, output=LINES, swap=None, cgroup_bytes=None, settings=None,
              watch=None):
    """must_engage: True, the work is over the limit, and figures of a run that was not watched would be plain malloc's;
    False, the work must fit; None, either. cgroup_bytes: all its RAM, the page cache of its swap file included. settings: others
    of GHOSTMEM_'s."""
    outcome = Outcome()
    if not os.path.exists(library):
        outcome.reason = "libghostmem.so is not built"
        return outcome
    with tempfile.TemporaryDirectory() as directory:
        stats_path = os.path.join(directory, "stats.json")
        environment = base_environment()
        environment.update(LD_PRELOAD=library, GHOSTMEM_MAX_PAGES=str(limit_pages), GHOSTMEM_STATS=stats_path, **(settings or {}))
        if backend:
            environment["GHOSTMEM_FAULTS"] = backend
        if swap:
            environment["GHOSTMEM_SWAP"] = swap
        if cgroup_bytes:  # the settings are for the command alone, not for the script around it
            inside = [f"{name}={environment.pop(name)}" for name in list(environment)
                      if name.startswith("GHOSTMEM_") or name == "LD_PRELOAD"]
            command = [os.path.join(HERE, "cgroup.sh"), "--swap", "none", str(cgroup_bytes), "env", *inside, *command]
        status, outcome.wall_s, outcome.peak_rss_bytes, text, stderr = spawn(command, environment, output, watch)
        take_output(output, text, outcome)
        try:
            with open(stats_path, encoding="utf-8") as file:
                outcome.stats = flatten(json.load(file))
        except (OSError, ValueError):
            outcome.stats = {}
    judge_ghost(outcome, status, stderr, backend, must_engage)
    return outcome


def judge_ghost(outcome, status, stderr, backend, must_engage):
    name = f"GhostMem {backend or 'auto'}: "
    if status == LATE:
        note_late(outcome, name[:-2])
    elif status != 0:
        outcome.reason = name + failure(status, stderr)
    elif not outcome.stats:
        outcome.reason = name + "it wrote no statistics"
    elif must_engage and backend not in (None, "auto", outcome.stats.get("backend")):
        outcome.reason = name + f"not available here, it chose {outcome.stats.get('backend')}"
    elif must_engage is not None and bool(outcome.stats.get("engaged")) != must_engage:
        outcome.reason = name + ("it was never engaged" if must_engage else "it was engaged though the work should fit")


def run_zram(command, limit_bytes, output=LINES, watch=None):
    return run_cgroup(command, limit_bytes, "zram", 0, output, watch)


def run_cgroup(command, limit_bytes, swap, swap_bytes, output=LINES, watch=None):
    """In a memory cgroup with a swap of the kernel's: "zram", or a swap file in the directory @swap."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as directory:
        stats_path = os.path.join(directory, "stats")
        script = [os.path.join(HERE, "cgroup.sh"), "--stats", stats_path, "--swap", swap, "--disksize", str(swap_bytes),
                  str(limit_bytes), *command]
        status, _, _, text, stderr = spawn(script, base_environment(), output, watch)
        take_output(output, text, outcome)
        judge_cgroup(outcome, status, stderr, swap, limit_bytes, stats_path)
    return outcome


def judge_cgroup(outcome, status, stderr, swap, limit_bytes, stats_path):
    name = "zram" if swap == "zram" else "the kernel's swap file"
    try:
        with open(stats_path, encoding="utf-8") as file:
            outcome.stats = dict(line.strip().split("=", 1) for line in file)
        outcome.wall_s = int(outcome.stats["wall_us"]) / 1e6  # without the script's own work
    except (OSError, KeyError):
        pass
    if status == ZRAM_UNAVAILABLE:
        lines = stderr.strip().splitlines()
        outcome.reason = lines[-1].replace("cgroup.sh: ", name + ": ") if lines else name + ": not possible here"
    elif outcome.stats.get("result") == "killed":
        # Phases that were printed before are as good as any other.
        outcome.is_killed = True
        outcome.reason = name + ": the kernel killed the program for lack of memory"
    elif outcome.stats.get("oom_stalls", "0") != "0":
        outcome.remark = (f"{name}: where the kernel would have killed the program for lack of memory it got a little more for a while, "
                          f"and had {int(outcome.stats['cgroup_usage_max_bytes']) >> 20} MiB at most instead of {limit_bytes >> 20}")
        outcome.is_above = int(outcome.stats["cgroup_usage_max_bytes"]) > limit_bytes * 11 // 10
    if status == LATE:
        note_late(outcome, name)
    elif status not in (0, ZRAM_UNAVAILABLE) and not outcome.is_killed:
        outcome.reason = name + ": " + failure(status, stderr)


def read_first_line(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return None


def describe_machine():
    """The kind of machine, never which one: no host name, no path."""
    model, memory_kib = "unknown", 0
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
        with open("/proc/meminfo", encoding="utf-8") as file:
            memory_kib = next((int(line.split()[1]) for line in file if line.startswith("MemTotal")), 0)
    except OSError:
        pass
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "ram_gib": round(memory_kib / 2**20, 1),
        "transparent_hugepage": read_first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "page_cluster": read_first_line("/proc/sys/vm/page-cluster"),
    }
