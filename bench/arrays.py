"""arrays.py - what a numpy program does with a big array: fill, sort, matrix product, random gather and scatter.

    python3 arrays.py MIB         the array's size; prints what came out, the same wherever it runs

For Debian's python3-numpy. All figures are whole numbers, so that no order of additions shows in them.
"""

import sys

import numpy as np

SIDE = 512
N_GATHERS = 50_000


def main():
    n = int(sys.argv[1]) * 2**20 // 8
    random = np.random.default_rng(1)
    a = np.empty(n, dtype=np.int64)
    step = n // 16
    for start in range(0, n, step):  # in pieces: no second array of that size
        a[start:start + step] = random.integers(0, 2**40, size=len(a[start:start + step]))
    print("sum", int(a.sum()))
    a.sort()
    print("sorted", int(a[0]), int(a[n // 2]), int(a[-1]))
    small = (a[:SIDE * SIDE] % 1000).astype(np.float64).reshape(SIDE, SIDE)
    print("product", int((small @ small.T).sum()))
    columns = a[:n // SIDE * SIDE].reshape(-1, SIDE)
    print("columns", int((columns[:, ::64] & 0xffff).sum()))
    for _ in range(4):
        places = random.integers(0, n, size=N_GATHERS)
        print("gathered", int((a[places] & 0xffffff).sum()))
        a[places[:N_GATHERS // 4]] += 1
    print("sum", int(a.sum()))


if __name__ == "__main__":
    main()
