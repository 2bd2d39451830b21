#!/usr/bin/env bash
# check.sh - run every suite, one after the other, and add up what they say. Called by `make check`.
#
# check.sh SUITE=COMMAND...: each command is a Criterion program, or closes like one. Ends with "N passed, N failed, N skipped"; a suite that
# ends without its closing line (a crash, a time-out) counts as one failure. Exit: 0 when nothing failed.
set -uf # suites have filters with wildcards in them

SUITE_TIMEOUT_S=1800
passed=0 failed=0 skipped=0
table=""
log=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$log" "$failures"' EXIT

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
        tail -n 40 "$log"
    fi
    f=$((f + c))
    if [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then f=1; fi
    if [ $((p + f + s)) -eq 0 ]; then
        echo "   its filter fits no test"
        f=1
    fi
    if [ "$f" -ne 0 ]; then
        grep -vE '^\[(PASS|RUN )' "$log" | head -n 100
        # Once more at the end, where it is found.
        { echo "failed in $name:"; why | head -n 12 | cut -c1-300; } >>"$failures"
    fi
    grep '^\[SKIP\]' "$log"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    table+=$(printf '%-28s %6d passed %4d failed %4d skipped %5d s' "$name" "$p" "$f" "$s" $((SECONDS - start)))$'\n'
done

printf '\n%s' "$table"
cat "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
