#!/usr/bin/env bash
# soak.sh - other people's stress programs under the library, each for a bounded time. Called by `make soak`, and with
# --brief (the quick ones at the smaller limit, for a second each) by `make check`.
#
# Each program runs plain first, which decides what is expected, then at limits of 64 and 4096 pages with each backend:
# `thread` as root, the others as nobody. Passed: the same status and, for programs of ours, the same output; no process
# below it was killed by a signal that kills none without us; not a line from GhostMem; the limit kept; and paging ran,
# as the reports say. A program that never needed it is skipped. Most of them get ballast.c beside the library, without
# which they would need none of it. A row a program and limit; a cell is seconds and the pages by which the limit was
# exceeded. Ends with a closing line in Criterion's words, for check.sh. Exit: 0 when nothing failed.
#
# From the environment: GHOSTMEM_LIB, GHOSTMEM_TEST_BIN: absolute paths; GHOSTMEM_TEST_RESULTS: see results.h. soak.sh [--brief] [NAME...]: only these.
set -u

brief=false
if [ "${1-}" = --brief ]; then
    brief=true
    shift
fi
only=" $* "
BACKENDS="thread signal segv"
PATIENCE_S=60 # beyond the time that a program was given
seconds=2
$brief && seconds=1

# By name: why it is not run with signal and segv.
declare -A unsupported=([vm-rw]="clones a task that shares its maker's memory and thread-local storage")

passed=0 failed=0 skipped=0
notes=""
group=""
scratch=$(mktemp -d /tmp/ghostmem-soak.XXXXXX)
chmod 755 "$scratch"

# What left the process group too: daemons and sessions carry our mark in their environment.
end_strays() {
    local environment pid
    # shellcheck disable=SC2013  # words without spaces
    for environment in $(grep -lsF "SOAK_MARK=$scratch" /proc/[0-9]*/environ); do
        pid=${environment#/proc/}
        kill -KILL "${pid%/environ}" 2>/dev/null
    done
}

finish() {
    [ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null
    end_strays
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# run BACKEND LIMIT HOW COMMAND...: in $scratch/run; sets status, took. BACKEND plain: without the library.
run() {
    local backend=$1 limit=$2 how=$3 as=() watch first start dir="$scratch/run"
    shift 3
    rm -rf "$dir"
    mkdir -p "$dir/work" "$dir/stats" "$dir/log"
    chmod 777 "$dir" "$dir/work" "$dir/stats" "$dir/log"
    local settings=(PATH="$PATH" HOME="$dir/work" TMPDIR="$dir/work" LC_ALL=C SOAK_MARK="$scratch" MEMTESTER_TEST_MASK=511)
    if [ "$backend" != plain ]; then
        settings+=(LD_PRELOAD="$GHOSTMEM_LIB" GHOSTMEM_FAULTS="$backend" GHOSTMEM_MAX_PAGES="$limit" GHOSTMEM_THRESHOLD=4096
            GHOSTMEM_STATS="$dir/stats/%p.json" GHOSTMEM_LOG="$dir/log/%p")
        [ "$how" = own ] || settings+=(LD_PRELOAD="$GHOSTMEM_TEST_BIN/ballast.so:$GHOSTMEM_LIB"
            BALLAST_PAGES=$((limit + limit / 4)) BALLAST_COMPLAINTS="$dir/log/ballast")
    fi
    # What a program locks stays: root may lock all, so root must not be able to.
    if [ "$(id -u)" -eq 0 ] && [ "$backend" = thread ]; then
        as=(setpriv --bounding-set=-ipc_lock)
    elif [ "$(id -u)" -eq 0 ]; then
        as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    fi
    start=${EPOCHREALTIME/./}
    (cd "$dir/work" && exec setsid prlimit --memlock=0 --core=0 "${as[@]}" env -i "${settings[@]}" "$@") \
        >"$dir/output" 2>"$dir/errors" </dev/null &
    group=$!
    sleep $((seconds + PATIENCE_S)) &
    watch=$!
    wait -n -p first "$group" "$watch" 2>/dev/null
    status=$?
    if [ "$first" = "$watch" ]; then
        status=timeout
    else
        kill "$watch"
        wait "$watch" 2>/dev/null
    fi
    kill -KILL -- "-$group" 2>/dev/null
    wait "$group" 2>/dev/null
    group=""
    end_strays
    took=$(((${EPOCHREALTIME/./} - start) / 100000))
    took=$((took / 10)).$((took % 10))
}

# Processes that a signal ended, as stress-ng -v tells of its own: its status says nothing of those that it starts again,
# or kills because they will not end.
casualties() {
    grep -cE 'SIG(SEGV|BUS) restarts: [1-9]|killed by SIG|child died: SIG(SEGV|BUS|SYS|ABRT|ILL)|terminated on signal|killing processes with SIGKILL' \
        "$scratch/run/output" "$scratch/run/errors" | awk -F: '{ n += $2 } END { print n + 0 }'
}

# "N_REPORTS N_PAGED EXCEEDED N_OVER KIB": how many paged, by how much the limit yielded, in how many it did not hold.
reports() {
    find "$scratch/run/stats" -type f -exec cat {} + | tr -d ' ,"' | awk -F: '
        /^{/ { engaged = freezes = peak = limit = over = 0 }
        $1 == "engaged" { engaged = $2 == "true" }
        $1 == "freezes" { freezes = $2 }
        $1 == "limit_pages" { limit = $2 }
        $1 == "resident_pages_peak" { peak = $2 }
        $1 == "limit_exceeded_pages_peak" { over = $2 }
        $1 == "ghost_bytes_peak" && $2 > bytes { bytes = $2 }
        /^}/ { n++; paged += engaged && freezes > 0; broken += peak > limit + over; if (over > most) most = over }
        END { printf "%d %d %d %d %d\n", n, paged, most, broken, bytes / 1024 }'
}

# judge HOW: sets verdict (passed, failed, skipped), why, exceeded.
judge() {
    local how=$1 n n_paged n_broken kib log
    read -r n n_paged exceeded n_broken kib < <(reports)
    log=$(cat "$scratch"/run/log/* 2>/dev/null | head -n 3)
    verdict=failed
    if [ "$status" = timeout ]; then
        why="killed after $((seconds + PATIENCE_S)) s"
    elif [ "$status" != 0 ]; then
        why="status $status, 0 without GhostMem"
    elif [ -n "$log" ]; then
        why=$log
    elif [ "$(casualties)" -gt "$plain_casualties" ]; then
        why="processes ended by a signal: $(grep -hE 'SIG|signal' "$scratch/run/output" "$scratch/run/errors" | head -n 3)"
    elif [ "$how" = own ] && [[ $plain_output == ok ]] && [ "$(cat "$scratch/run/output")" != ok ]; then
        why="its output is not as without GhostMem"
    elif [ "$n" -eq 0 ]; then
        why="no report"
    elif [ "$n_broken" -gt 0 ]; then
        why="more resident pages than the limit and what it yielded, in $n_broken processes"
    elif [ "$n_paged" -eq 0 ]; then
        verdict=skipped why="fits: $kib KiB of ghost memory at most"
    elif log=$(grep -hoE -m 1 'info: .*(skipping the stressor|will be skipped).*' "$scratch/run/output" "$scratch/run/errors"); then
        verdict=skipped why=$log
    else
        verdict=passed why=""
    fi
}

# count TRIAL BACKEND: adds the verdict up, notes what is not plain success, and tells check.sh's matrix.
count() {
    [ -z "${GHOSTMEM_TEST_RESULTS-}" ] ||
        printf '%s\tstress\t%s\t\t%s\t%s\n' "$2" "$1" "$verdict" "${why//[$'\t\n']/ }" >>"$GHOSTMEM_TEST_RESULTS"
    case $verdict in
    passed) passed=$((passed + 1)) ;;
    failed)
        failed=$((failed + 1))
        notes+="[FAIL] stress::$1, $2: $why"$'\n'
        [ ! -d "$scratch/run" ] || notes+="$(tail -qn 6 "$scratch/run/output" "$scratch/run/errors" | cut -c1-200 | sed 's/^/       /')"$'\n'
        ;;
    skipped)
        skipped=$((skipped + 1))
        notes+="[SKIP] stress::$1, $2: $why"$'\n'
        ;;
    esac
}

# program NAME HOW SIZE_64 SIZE_4096 COMMAND...: HOW is own (memory of its own, from malloc) or ballast; @ in the command
# becomes the size that makes it page at that limit, S the seconds; size -: not at that limit (some stressors take no more
# than 16 MiB, or minutes).
program() {
    local name=$1 how=$2 limit size command word row plain_status cell
    shift 2
    local sizes=("$1" "$2")
    shift 2
    [ "$only" = "  " ] || [[ $only == *" $name "* ]] || return 0
    for limit in 64 4096; do
        size=${sizes[0]}
        if [ "$limit" = 4096 ]; then size=${sizes[1]}; fi
        if [ "$size" = - ] || { $brief && [ "$limit" = 4096 ]; }; then continue; fi
        command=()
        for word in "${@//@/$size}"; do
            if [ "$word" = S ]; then word=$seconds; fi
            command+=("$word")
        done
        run plain "$limit" "$how" "${command[@]}"
        plain_status=$status plain_casualties=$(casualties) plain_output=$(head -c 100 "$scratch/run/output")
        row=$(printf '%-14s %5d  %6s' "$name" "$limit" "$took")
        for backend in $BACKENDS; do
            exceeded=0
            if [ "$plain_status" != 0 ]; then
                verdict=skipped took="" why="fails without GhostMem too: status $plain_status"
            elif [ "$backend" = thread ] && [ "$(id -u)" -ne 0 ]; then
                verdict=skipped took="" why="needs root"
            elif [ "$backend" != thread ] && [ -n "${unsupported[$name]-}" ]; then
                verdict=skipped took="" why="${unsupported[$name]}: doc/limits.md"
            else
                run "$backend" "$limit" "$how" "${command[@]}"
                judge "$how"
            fi
            count "${name}_at_${limit}_pages" "$backend"
            cell=$(printf '%-7s %6s %+5d' "$verdict" "$took" "$exceeded")
            row+="  | $cell"
        done
        $brief || echo "$row"
    done
}

ng() { # ng NAME HOW SIZE_64 SIZE_4096 OPTION...: one of stress-ng's stressors
    local name=$1 how=$2 sizes=("$3" "$4")
    shift 4
    program "$name" "$how" "${sizes[@]}" stress-ng -v --verify --temp-path . --timeout S "$@"
}

blocks() {
    program "blocks-$1" own 2 40 "$GHOSTMEM_TEST_BIN/blocks" "$1" 4 S @
}

$brief || printf '%-14s %5s  %6s  | %-20s  | %-20s  | %s\n' program limit plain "thread: s, exceeded" signal segv

blocks larson
blocks xmalloc
blocks scratch
blocks sh
ng malloc own 256K 4M --malloc 2 --malloc-pthreads 2 --malloc-max 64 --malloc-touch --malloc-bytes @
ng qsort own 131072 - --qsort 2 --qsort-size @
ng fork ballast 1 1 --fork 2
ng stack ballast 1 1 --stack 2
ng sigsegv ballast 1 1 --sigsegv 2
ng switch ballast 1 1 --switch 2
ng pthread ballast 1 1 --pthread 2
ng zlib ballast 1 1 --zlib 1
if ! $brief; then
    # Not mmapfork, which wants half of the machine's free RAM and more than its time.
    ng bigheap own 64K 1M --bigheap 1 --bigheap-growth @
    ng hsearch own 32768 - --hsearch 1 --hsearch-size @
    ng tsearch own 80000 - --tsearch 1 --tsearch-size @
    ng bsearch own 262144 - --bsearch 2 --bsearch-size @
    ng heapsort own 262144 - --heapsort 1 --heapsort-size @
    ng mergesort own 262144 4194304 --mergesort 1 --mergesort-size @
    ng radixsort own 131072 2097152 --radixsort 1 --radixsort-size @
    ng shellsort own 262144 - --shellsort 1 --shellsort-size @
    ng tree own 100000 500000 --tree 1 --tree-size @
    ng judy own 131072 4194304 --judy 1 --judy-size @
    ng randlist own 20000 250000 --randlist 1 --randlist-compact --randlist-items @
    ng env own 1 1 --env 1
    ng vm ballast 1 1 --vm 2 --vm-bytes 32M
    ng vm-rw ballast 1 1 --vm-rw 2
    ng vm-segv ballast 1 1 --vm-segv 2
    ng vm-splice ballast 1 1 --vm-splice 1
    ng mremap ballast 1 1 --mremap 1
    ng memrate ballast 1 1 --memrate 1 --memrate-bytes 32M
    ng matrix ballast 1 1 --matrix 1
    ng pipe ballast 1 1 --pipe 2
    ng sock ballast 1 1 --sock 2
    ng udp ballast 1 1 --udp 2
    ng context ballast 1 1 --context 1
    ng bad-altstack ballast 1 1 --bad-altstack 1
    ng vfork ballast 1 1 --vfork 1
    ng clone ballast 1 1 --clone 1
    ng exec ballast 1 1 --exec 1
    ng resources ballast 1 - --resources 1
    ng futex ballast 1 1 --futex 2
    ng epoll ballast 1 1 --epoll 1
    ng mlock ballast 1 1 --mlock 1
    ng aio ballast 1 1 --aio 1
    ng ptrace ballast 1 1 --ptrace 1
    ng sigq ballast 1 1 --sigq 2
    ng exit-group ballast 1 1 --exit-group 2
    for test in "$GHOSTMEM_TEST_BIN"/glibc/tst-*; do
        [ ! -x "$test" ] || program "${test##*/}" ballast 1 1 "$test"
    done
    program memtester own 1 24 memtester @M 1
    program stressapptest own 16 48 stressapptest -s S -M @ -m 2 -W --no_errors
fi

$brief || echo
printf '%s' "$notes"
echo "[====] Synthesis: Tested: $((passed + failed)) | Passing: $passed | Failing: $failed | Crashing: 0"
$brief || echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
