"""small.py - the section `small`: what blocks below a page cost while all fits, and the RAM of a node: small.cpp.

GhostMem with GHOSTMEM_THRESHOLD=1, so that every block is its own, beside glibc's malloc and, where they are installed, jemalloc and
mimalloc. A round measures all of them in turns.
"""

import ctypes.util
from statistics import median

import measure

PHASES = {"pair": "a block is freed at once", "cfrac": "a stack of blocks to 64 bytes", "batches": "4,000 blocks, freed in another order",
          "larson": "replaced at random", "larson:2": "replaced at random, 2 threads", "xmalloc": "freed in batches",
          "xmalloc:2": "freed by others, 2 threads"}
MAPS = {"map": "std::map<int, std::string>"}
LIMIT_PAGES = 2**20
RIVALS = {"jemalloc": "jemalloc", "mimalloc": "mimalloc"}


def run(bench):
    a = bench.a
    command = [a.small, ",".join([*PHASES, *MAPS])]
    rivals = {name: ctypes.util.find_library(library) for name, library in RIVALS.items()}
    runs = {name: [] for name in ("plain", "ghost", *(name for name, library in rivals.items() if library))}
    for i in range(a.runs):
        bench.say(f"small blocks: run {i + 1} of {a.runs}")
        for name, outcomes in runs.items():
            if name == "ghost":
                outcome = measure.run_ghost(command, a.library, LIMIT_PAGES, a.backends[0], False, settings={"GHOSTMEM_THRESHOLD": "1"})
            else:
                outcome = measure.run_plain(["env", f"LD_PRELOAD={rivals[name]}", *command] if name in rivals else command)
            outcomes.append(bench.keep(f"small blocks, {name}", outcome))
    notes = [o.reason for outcomes in runs.values() for o in outcomes] + [f"{n}: not installed" for n in rivals if n not in runs]

    def figures(phase):
        found = {}
        for name, outcomes in runs.items():
            good = [o.ns(phase) for o in outcomes if not o.reason and o.ns(phase) is not None]
            found[name] = median(good) if good else "n/a"
        return {**found, "slowdown": measure.ratio(found["ghost"], found["plain"])}

    for key, unit, phases in (("small", "ns/pair", PHASES), ("node", "bytes/node", MAPS)):
        for phase, work in phases.items():
            bench.add("small blocks: all fit", key, work, unit, notes, **figures(phase))
