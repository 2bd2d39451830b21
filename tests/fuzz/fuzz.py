#!/usr/bin/env python3
"""fuzz.py - random memory calls, plain and under GhostMem, must do the same: see memcalls.h.

fuzz.py [--backend B] [--pages N,...] [--threads N] [--steps N] [--seed S] [--runs N | --minutes M] [--user ID] [--shrink]

Each run is of one seed: S, S + 1 and so on. On a difference: the seed, the step and both lines, and with --shrink the steps that it takes.
From the environment: GHOSTMEM_LIB, GHOSTMEM_TEST_BIN: absolute paths; GHOSTMEM_TEST_USER: as for the other suites. Ends with a closing
line in Criterion's words, for check.sh. Exit: 0 when nothing differed.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 300


class Run:
    """One seed at one limit, plain and under GhostMem."""

    def __init__(self, options, seed, pages, directory):
        self.options, self.seed, self.pages, self.directory = options, seed, pages, directory

    def start(self, name, preload, skipped):
        environment = {"PATH": os.environ["PATH"]}
        command = []
        if preload:
            environment.update(LD_PRELOAD=os.environ["GHOSTMEM_LIB"], GHOSTMEM_SCOPE="process", GHOSTMEM_MAX_PAGES=str(self.pages),
                               GHOSTMEM_FAULTS=self.options.backend)
        if self.options.user and os.getuid() == 0:
            command = ["setpriv", f"--reuid={self.options.user}", f"--regid={self.options.user}", "--clear-groups"]
            command += ["env", "-i"] + [f"{key}={value}" for key, value in environment.items()]
        command += [os.path.join(os.environ["GHOSTMEM_TEST_BIN"], "memcalls"), "-t", str(self.options.threads)]
        command += ["-p"] if self.options.backend == "segv" else []
        command += ["-s", ",".join(f"{first}-{last}" for first, last in skipped)] if skipped else []
        command += [str(self.seed), str(self.options.steps), os.path.join(self.directory, name)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                start_new_session=True)

    def wait(self, process):
        try:
            errors = process.communicate(timeout=PATIENCE_S)[1].decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the children too: they hold the pipe
            return -1, process.communicate()[1].decode(errors="replace").strip() + f" killed after {PATIENCE_S} s"
        return process.returncode, errors

    def difference(self, skipped=()):
        """None, or (step, text)."""
        ends = [self.wait(self.start(name, name == "ghost", skipped)) for name in ("plain", "ghost")]
        for thread in range(self.options.threads):
            found = self.first_difference(thread, ends)
            if found:
                return found
        for name, (status, errors) in zip(("plain", "under GhostMem"), ends):
            if status != 0 or errors:
                return 0, f"{name}: status {status}, {errors}"
        return None

    def first_difference(self, thread, ends):
        logs = []
        for name in ("plain", "ghost"):
            with open(os.path.join(self.directory, f"{name}.{thread}"), errors="replace") as log:
                logs.append(log.read().split("\n"))
        step = 0
        for i in range(max(map(len, logs))):
            lines = [log[i] if i < len(log) else "(ends)" for log in logs]
            word = lines[0].split(" ")[0]
            step = int(word) if word.isdigit() else step
            if lines[0] != lines[1]:
                told = "".join(f"\n  {errors}" for _, errors in ends if errors)
                return step, f"thread {thread}, step {step}:\n  plain:          {lines[0]}\n  under GhostMem: {lines[1]}{told}"
        return None


def shrink(run):
    """Leave out ever smaller pieces, as long as there is a difference."""
    step, _ = run.difference()
    if step:
        run.options.steps = min(run.options.steps, step + 1)
    skipped, size = [], run.options.steps // 2
    while size >= 1:
        for first in range(0, run.options.steps, size):
            piece = (first, min(first + size, run.options.steps) - 1)
            if not any(a <= piece[0] and piece[1] <= b for a, b in skipped) and run.difference(skipped + [piece]):
                skipped = [s for s in skipped if not (piece[0] <= s[0] and s[1] <= piece[1])] + [piece]
        size //= 2
    return run.options.steps, sorted(skipped), run.difference(skipped)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default=os.environ.get("GHOSTMEM_TEST_FAULTS", "signal"), choices=("signal", "segv"))
    parser.add_argument("--pages", default="64,300")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--user", default=os.environ.get("GHOSTMEM_TEST_USER", "").replace("--reuid=", ""))
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    limits = [int(pages) for pages in options.pages.split(",")]
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    seed, passed, failed = options.seed, 0, 0
    directory = tempfile.mkdtemp(prefix="ghostmem-fuzz.")
    os.chmod(directory, 0o777)
    while time.monotonic() < end if end else seed < options.seed + options.runs:
        run = Run(options, seed, limits[seed % len(limits)], directory)
        found = run.difference()
        if found:
            failed += 1
            print(f"[FAIL] fuzz::memory_calls, seed {seed}, {run.pages} pages, {options.backend}, {found[1]}", flush=True)
            if options.shrink:
                steps = options.steps
                n, skipped, found = shrink(run)
                options.steps = steps
                print(f"  shrunk: {n} steps without {','.join(f'{a}-{b}' for a, b in skipped)}: {found and found[1]}", flush=True)
        else:
            passed += 1
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        seed += 1
    shutil.rmtree(directory)
    print(f"[====] Synthesis: Tested: {passed + failed} | Passing: {passed} | Failing: {failed} | Crashing: 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
