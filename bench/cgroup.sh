#!/usr/bin/env bash
#
# cgroup.sh - run one command with a limit on its RAM, and a swap of the kernel's.
#
#     cgroup.sh [--stats FILE] [--swap zram|DIRECTORY|none] [--disksize BYTES] LIMIT_BYTES command [argument...]
#
# The swap: zram with lz4, the kernel's own compressed memory (the default); a swap file in DIRECTORY; or none, for a command
# that keeps its memory small by itself, and whose page cache is to count too.
#
# The command alone enters a memory cgroup of LIMIT_BYTES; this script and its caller stay outside. Everything set up is taken
# down again, also on failure, SIGINT and SIGTERM. A zram device that is in use already is left alone: another one is added.
#
# The kernel gives up early on a group all of whose pages are in use (cgroup v1, where it was seen to kill GNU sort at half of its memory
# each time). So that there is something to compare with, the command is not killed there: it gets SLACK_BYTES more for a moment,
# as often as it takes; oom_stalls counts that, and cgroup_usage_max_bytes says how far it went.
#
# FILE gets key=value lines: result (ok, killed, failed), status, wall_us (of the command alone), zram_mem_used_max_bytes (all RAM that the device took at its peak,
# tables of its allocator included), cgroup_usage_max_bytes, oom_kills, oom_stalls.
# Exit: the command's status; 137 with "killed" in FILE when the kernel killed it for memory; 77 when this cannot be done here.

set -euo pipefail

V1=/sys/fs/cgroup/memory
V2=/sys/fs/cgroup
LOCK=/run/lock/ghostmem-bench-zram.lock
SLACK_BYTES=$((512 << 10))

stats_file='' disksize=0 kind=zram
swap_file='' zram='' added_zram='' swap_on='' cgroup='' child='' helper='' stalls_file=''

usage() { echo "usage: cgroup.sh [--stats FILE] [--swap zram|DIRECTORY|none] [--disksize BYTES] LIMIT_BYTES command [argument...]" >&2; exit 2; }
unavailable() { echo "cgroup.sh: not possible here: $1" >&2; exit 77; }

# shellcheck disable=SC2317 # reached through the trap on EXIT
tear_down() {
    local status=$?
    trap - EXIT
    trap '' INT TERM # half a tear-down would leave a swap device behind
    set +e
    if [ -n "$child" ]; then
        kill -KILL "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    [ -z "$helper" ] || kill "$helper" 2>/dev/null
    [ -z "$stalls_file" ] || rm -f "$stalls_file"
    if [ -n "$cgroup" ]; then
        # What the command left running; a process leaves its cgroup a moment after its death.
        for _ in $(seq 100); do
            rmdir "$cgroup" 2>/dev/null && break
            xargs -r kill -KILL < "$cgroup/cgroup.procs" 2>/dev/null
            sleep 0.05
        done
        [ ! -d "$cgroup" ] || echo "cgroup.sh: cannot remove the cgroup $cgroup" >&2
    fi
    [ -z "$swap_on" ] || swapoff "$swap_on" || echo "cgroup.sh: swapoff $swap_on failed" >&2
    [ -z "$swap_file" ] || rm -f "$swap_file"
    if [ -n "$zram" ]; then
        echo 1 > "/sys/block/$zram/reset" || echo "cgroup.sh: cannot reset $zram" >&2
        [ -z "$added_zram" ] || echo "${zram#zram}" > /sys/class/zram-control/hot_remove
    fi
    exit "$status"
}

take_zram() {
    local number
    [ -d /sys/class/zram-control ] || modprobe zram 2>/dev/null || unavailable "the kernel has no zram"
    if [ -e /sys/block/zram0/initstate ] && [ "$(cat /sys/block/zram0/initstate)" = 0 ]; then
        zram=zram0
    else
        number=$(cat /sys/class/zram-control/hot_add 2>/dev/null) || unavailable "zram0 is in use and no other can be added"
        zram=zram$number added_zram=yes
    fi
    [ -b "/dev/$zram" ] || unavailable "/dev/$zram is missing"
    echo lz4 > "/sys/block/$zram/comp_algorithm" 2>/dev/null || unavailable "zram does not know lz4"
    grep -q '\[lz4\]' "/sys/block/$zram/comp_algorithm" || unavailable "zram does not take lz4"
    echo "$disksize" > "/sys/block/$zram/disksize"
    mkswap "/dev/$zram" > /dev/null
    # Before any other swap device of the machine.
    swapon --priority 32767 "/dev/$zram"
    swap_on=/dev/$zram
}

take_file() {
    swap_file=$(mktemp "$kind/ghostmem-bench-swap-XXXXXX") || unavailable "no swap file in $kind"
    chmod 600 "$swap_file"
    fallocate -l "$disksize" "$swap_file" || unavailable "no room for a swap file in $kind"
    mkswap "$swap_file" > /dev/null
    swapon --priority 32767 "$swap_file" 2>/dev/null || unavailable "the file system in $kind takes no swap file"
    swap_on=$swap_file
}

make_cgroup() {
    if [ -e "$V2/cgroup.controllers" ]; then
        grep -qw memory "$V2/cgroup.controllers" || unavailable "cgroup v2 without the memory controller"
        echo +memory > "$V2/cgroup.subtree_control" 2>/dev/null || unavailable "cannot enable the memory controller"
        mkdir "$V2/ghostmem-bench.$$"
        cgroup=$V2/ghostmem-bench.$$
        echo "$limit" > "$cgroup/memory.max"
        echo max > "$cgroup/memory.swap.max"
    elif [ -e "$V1/memory.limit_in_bytes" ]; then
        mkdir "$V1/ghostmem-bench.$$"
        cgroup=$V1/ghostmem-bench.$$
        echo "$limit" > "$cgroup/memory.limit_in_bytes"
        # Swapping in zram costs microseconds, reading a file again far more: no preference for dropping the page cache.
        echo 100 > "$cgroup/memory.swappiness"
        echo 1 > "$cgroup/memory.oom_control"
        stalls_file=$(mktemp)
    else
        unavailable "no memory cgroup"
    fi
}

# Looks at the group a hundred times a second, without starting a process: it runs beside what is measured.
help_out_of_stalls() {
    local lines stalls=0 extra=0 never
    trap - EXIT
    exec {never}<> <(:)
    while :; do
        read -rt 0.01 -u "$never" || true
        mapfile -t lines < "$cgroup/memory.oom_control" || return 0
        case "${lines[*]}" in
            *'under_oom 1'*)
                stalls=$((stalls + 1)) extra=$((extra + SLACK_BYTES))
                echo "$stalls" > "$stalls_file"
                echo $((limit + extra)) > "$cgroup/memory.limit_in_bytes" # only a higher one wakes who waits
                ;;
            *)
                # Refused while the pages are in use: later, then.
                if [ "$extra" -gt 0 ] && echo $((limit + extra - SLACK_BYTES)) > "$cgroup/memory.limit_in_bytes"; then
                    extra=$((extra - SLACK_BYTES))
                fi
                ;;
        esac
    done
}

# The number behind a word in a file of lines "word number"; 0 if there is none.
number_of() { awk -v word="$1" '$1 == word { n = $2 } END { print n + 0 }' "$2" 2>/dev/null || echo 0; }

write_stats() {
    local kills usage_max result=ok
    if [ -e "$cgroup/memory.events" ]; then
        kills=$(number_of oom_kill "$cgroup/memory.events")
        usage_max=$(cat "$cgroup/memory.peak" 2>/dev/null || echo 0)
    else
        kills=$(number_of oom_kill "$cgroup/memory.oom_control")
        usage_max=$(cat "$cgroup/memory.max_usage_in_bytes")
    fi
    [ "$1" = 0 ] || result=failed
    if [ "$1" != 0 ] && [ "$kills" -gt 0 ]; then result=killed; fi
    {
        echo "result=$result"
        echo "status=$1"
        echo "wall_us=$2"
        # Column 5 of mm_stat: mem_used_max (Documentation/admin-guide/blockdev/zram.rst).
        [ -z "$zram" ] || echo "zram_mem_used_max_bytes=$(awk '{ print $5 }' "/sys/block/$zram/mm_stat")"
        echo "cgroup_usage_max_bytes=$usage_max"
        echo "oom_kills=$kills"
        [ -z "$stalls_file" ] || echo "oom_stalls=$(($(cat "$stalls_file")))"
    } > "$stats_file"
}

while [ $# -gt 0 ]; do
    case $1 in
        --stats) [ $# -ge 2 ] || usage; stats_file=$2; shift 2 ;;
        --swap) [ $# -ge 2 ] || usage; kind=$2; shift 2 ;;
        --disksize) [ $# -ge 2 ] || usage; disksize=$2; shift 2 ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -ge 2 ] || usage
limit=$1
shift
case $limit$disksize in *[!0-9]*) usage ;; esac
# Of what is not used only the table costs RAM: 16 bytes a page.
[ "$disksize" -gt 0 ] || disksize=$((limit * 8 > 1 << 30 ? limit * 8 : 1 << 30))

[ "$(id -u)" = 0 ] || unavailable "not root"
mkdir -p "${LOCK%/*}"
exec 9> "$LOCK"
flock 9 # one at a time: they would share the device's statistics

trap tear_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
case $kind in
    zram) take_zram ;;
    none) ;;
    *) take_file ;;
esac
make_cgroup

start_us=${EPOCHREALTIME/./}
# In the background, for `wait` returns at once when a signal comes, and a foreground command does not let it.
(echo "$BASHPID" > "$cgroup/cgroup.procs" && trap - INT TERM && exec "$@" 9>&-) <&0 &
child=$!
if [ -n "$stalls_file" ]; then
    help_out_of_stalls 2>/dev/null 9>&- &
    helper=$!
fi
status=0
wait "$child" || status=$?
wall_us=$((${EPOCHREALTIME/./} - start_us))
child=''
[ -z "$stats_file" ] || write_stats "$status" "$wall_us"
exit "$status"
