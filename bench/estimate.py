"""estimate.py - how long a run of the benchmark will take, from what its sections took on a machine of two cores."""

# Seconds of one run of each: of a backend, and of all that is measured once whatever the backends are.
SECONDS = {"fits": (22, 22), "over": (7, 12), "programs": (31, 32), "growth": (35, 0), "memory": (2, 0), "calls": (10, 5), "guard": (8, 8),
           "swap": (0, 60), "process": (60, 90), "small": (0, 12)}
IS_FOR_THE_FIRST = {"fits", "growth", "swap"}  # with the first backend alone


def seconds(section, a):
    of_backend, of_all = SECONDS[section]
    n_backends = 1 if section in IS_FOR_THE_FIRST else len(a.backends)
    n_settings = {"over": len(a.data) * len(a.limits), "programs": len(a.limits), "process": len(a.limits)}.get(section, 1)
    return a.runs * n_settings * (n_backends * of_backend + of_all)


def minutes(a):
    return round(sum(seconds(section, a) for section in a.sections) / 60) or 1
