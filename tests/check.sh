#!/usr/bin/env bash
# check.sh - run every suite, one after the other, and add up what they say. Called by `make check`.
#
# check.sh SUITE=COMMAND...: each command is a Criterion program, or closes like one. A suite that ends without its
# closing line (a crash, a time-out) counts as one failure. In the end, what became of each trial, as far as suites say
# (tests/programs/results.h), by matrix.awk, and "N passed, N failed, N skipped". Exit: 0 when nothing failed.
set -uf # suites have filters with wildcards in them

SUITE_TIMEOUT_S=1800
passed=0 failed=0 skipped=0
table=""
log=$(mktemp)
failures=$(mktemp)
results=$(mktemp)
all_results=$(mktemp)
trap 'rm -f "$log" "$failures" "$results" "$all_results"' EXIT
export GHOSTMEM_TEST_RESULTS=$results

number() { # KEY: the last number behind it in the suite's closing line
    sed -n "s/.*Synthesis:.*$1: *\([0-9]*\).*/\1/p" "$log" | tail -n 1
}

why() { # what the log says of failures; when it says nothing of that kind, its end
    grep -A4 --no-group-separator -E 'Assertion Failed|Unexpected signal|CRASH|assertion failed|WARNING: |ERROR: ' "$log" ||
        grep -vE '^\[(PASS|RUN |SKIP|====)' "$log" | tail -n 12
}

for suite in "$@"; do
    name=${suite%%=*}
    start=$SECONDS
    : >"$results"
    echo "== $name"
    # shellcheck disable=SC2086  # a suite is a command line
    timeout -k 10 "$SUITE_TIMEOUT_S" ${suite#*=} >"$log" 2>&1 </dev/null
    status=$?
    sed -i 's/\x1b\[[0-9;]*m//g' "$log"
    p=$(number Passing) f=$(number Failing) c=$(number Crashing)
    sed -i '/^\[SKIP\].*Test is disabled/d' "$log" # left out by the suite's filter
    s=$(grep -c '^\[SKIP\]' "$log")
    if [ -z "$p" ]; then
        echo "   no closing line, status $status"
        p=0 f=1 c=0
        # Its cells are empty, and the matrix says why.
        printf -- '-\tsuite\t%s\t\tfailed\tended with status %s before it said anything\n' "$name" "$status" >>"$all_results"
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
    cat "$results" >>"$all_results"
    if [ "$f" -ne 0 ]; then
        grep -vE '^\[(PASS|RUN )' "$log" | head -n 100
        # Once more at the end, where it is found.
        { echo "failed in $name:"; why | head -n 12 | cut -c1-300; } >>"$failures"
    fi
    [ -s "$results" ] || grep '^\[SKIP\]' "$log" # else below the matrix
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    table+=$(printf '%-28s %6d passed %4d failed %4d skipped %5d s' "$name" "$p" "$f" "$s" $((SECONDS - start)))$'\n'
done

awk -f "${0%/*}/matrix.awk" "$all_results"
printf '\n%s' "$table"
cat "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
