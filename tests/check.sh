#!/usr/bin/env bash
# check.sh - run every suite, and add up what they say. Called by `make check`.
#
# check.sh SUITE=COMMAND... [-- SUITE=COMMAND...]...: each command is a Criterion program, or closes like one. What stands
# between two `--` is a lane: the suites of a lane run one after the other, and the lanes run at the same time. A suite that
# ends without its closing line (a crash, a time-out) counts as one failure. In the end, what became of each trial, as far as
# suites say (tests/programs/results.h), by matrix.awk, the seconds of each suite, and "N passed, N failed, N skipped".
# GHOSTMEM_TEST_LOGS=DIRECTORY keeps what each suite said. Exit: 0 when nothing failed.
set -uf # suites have filters with wildcards in them

here=${0%/*}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ghostmem-check.XXXXXX")
chmod 755 "$scratch"
lanes=()
finish() {
    trap - EXIT
    [ ${#lanes[@]} -eq 0 ] || kill "${lanes[@]}" 2>/dev/null
    wait
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# What runs without GhostMem gave is kept for the suites that come later: tests/programs/plain.h.
mkdir "$scratch/plain"
export GHOSTMEM_TEST_PLAIN=$scratch/plain

# A suite that takes this long hangs. Half an hour, and as much more as this machine is slower than QUICK_NS a page, which
# is what a quick one takes.
SUITE_TIMEOUT_S=1800 QUICK_NS=5000
page_ns=$("${GHOSTMEM_TEST_BIN:-$here/../build/tests}/helper_speed") || page_ns=$QUICK_NS
[ "$page_ns" -le "$QUICK_NS" ] || SUITE_TIMEOUT_S=$((SUITE_TIMEOUT_S * page_ns / QUICK_NS))
echo "$page_ns ns to touch, protect and free a page: a suite may take $SUITE_TIMEOUT_S s"

number() { # KEY LOG: the last number behind it in the suite's closing line
    sed -n "s/.*Synthesis:.*$1: *\([0-9]*\).*/\1/p" "$2" | tail -n 1
}

why() { # LOG: what it says of failures; when it says nothing of that kind, its end
    grep -A4 --no-group-separator -E 'Assertion Failed|Unexpected signal|CRASH|assertion failed|WARNING: |ERROR: ' "$1" ||
        grep -vE '^\[(PASS|RUN |SKIP|====)' "$1" | tail -n 12
}

# run_suite N SUITE=COMMAND: leaves, in files that begin with $scratch/N., a row of the table, the counts (PASSED FAILED
# SKIPPED), the results of its trials, and what is to be said of failures at the end.
run_suite() {
    local files=$scratch/$1 name=${2%%=*} start=$SECONDS suite_process status p f c s r
    local log=$files.log results=$files.results
    : >"$results"
    # shellcheck disable=SC2086  # a suite is a command line
    GHOSTMEM_TEST_RESULTS=$results timeout -k 10 "$SUITE_TIMEOUT_S" ${2#*=} >"$log" 2>&1 </dev/null &
    suite_process=$!
    trap 'kill $suite_process 2>/dev/null; wait; exit 130' TERM
    wait $suite_process
    status=$?
    trap - TERM
    sed -i 's/\x1b\[[0-9;]*m//g' "$log"
    p=$(number Passing "$log") f=$(number Failing "$log") c=$(number Crashing "$log")
    sed -i '/^\[SKIP\].*Test is disabled/d' "$log" # left out by the suite's filter
    s=$(grep -c '^\[SKIP\]' "$log")
    {
        echo "== $name: $((SECONDS - start)) s"
        if [ -z "$p" ]; then
            echo "   no closing line, status $status"
            p=0 f=1 c=0
            # Its cells are empty, and the matrix says why.
            printf -- '-\tsuite\t%s\t\tfailed\tended with status %s before it said anything\n' "$name" "$status" >>"$files.all"
            tail -n 40 "$log"
        fi
        f=$((f + c))
        if [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then f=1; fi
        if [ $((p + f + s)) -eq 0 ]; then
            echo "   its filter fits no test"
            f=1
        fi
        r=$(grep -cP '^([^\t]*\t){4}passed\t' "$results")
        if [ -s "$results" ] && [ "$r" -ne "$p" ]; then
            echo "   its results do not add up: $r trials passed, $p in its closing line"
            f=$((f + 1))
        fi
        cat "$results" >>"$files.all"
        if [ "$f" -ne 0 ]; then
            grep -vE '^\[(PASS|RUN )' "$log" | head -n 100
            # Once more at the end, where it is found.
            { echo "failed in $name:"; why "$log" | head -n 12 | cut -c1-300; } >"$files.failures"
        fi
        [ -s "$results" ] || grep '^\[SKIP\]' "$log" # else below the matrix
    } >"$files.said"
    cat "$files.said" # at once: two lanes may speak at the same time
    if [ -n "${GHOSTMEM_TEST_LOGS:-}" ]; then cp "$log" "$GHOSTMEM_TEST_LOGS/$name.log"; fi
    printf '%-28s %6d passed %4d failed %4d skipped %5d s\n' "$name" "$p" "$f" "$s" $((SECONDS - start)) >"$files.row"
    echo "$p $f $s" >"$files.counts"
}

run_lane() { # FIRST SUITE=COMMAND...: FIRST is the number of the first of them
    local n=$1 suite
    shift
    trap - EXIT
    for suite in "$@"; do
        run_suite "$n" "$suite"
        n=$((n + 1))
    done
}

n=0 lane=()
for suite in "$@" --; do
    if [ "$suite" != -- ]; then
        lane+=("$suite")
        continue
    fi
    [ ${#lane[@]} -gt 0 ] || continue
    run_lane "$n" "${lane[@]}" &
    lanes+=($!)
    n=$((n + ${#lane[@]}))
    lane=()
done
wait "${lanes[@]}"
lanes=()

passed=0 failed=0 skipped=0 table="" failures="" all=()
for ((i = 0; i < n; i++)); do
    p=0 f=1 s=0 # of a suite whose end was not seen
    read -r p f s 2>/dev/null <"$scratch/$i.counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    table+=$(cat "$scratch/$i.row" 2>/dev/null || echo "suite $i: not run")$'\n'
    if [ -e "$scratch/$i.failures" ]; then failures+=$(cat "$scratch/$i.failures")$'\n'; fi
    if [ -e "$scratch/$i.all" ]; then all+=("$scratch/$i.all"); fi
done
[ ${#all[@]} -eq 0 ] || cat "${all[@]}" | awk -f "$here/matrix.awk"
printf '\n%s' "$table"
printf '%s' "$failures"
echo "all suites: $SECONDS s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
