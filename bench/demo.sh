#!/usr/bin/env bash
# demo.sh - a real program on real input, without and with GhostMem at a quarter of its memory. Called by `make demo`.
#
# Input: text files of this system (headers, documentation, scripts), line-numbered copies of them until there are
# DEMO_MIB MiB (256 by default). Program: GNU sort, in memory, or what DEMO_PROGRAM names as a filter from stdin to stdout.
set -eu
cd "$(dirname "$0")/.."

mib=${DEMO_MIB:-256}
program=${DEMO_PROGRAM:-"sort --parallel=2 -S $((mib * 4))M"}
export LC_ALL=C
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/ghostmem-demo-XXXXXX")
trap 'rm -rf "$dir"' EXIT

echo "collecting $mib MiB of text from this system ..."
find /usr/include /usr/share /usr/lib -type f -size -2M \
    \( -name '*.h' -o -name '*.py' -o -name '*.p[lm]' -o -name '*.txt' -o -name '*.sh' -o -name '*.html' -o -name 'copyright' \) \
    -print0 2>/dev/null | sort -z | xargs -0 cat >"$dir/all" 2>/dev/null || true
[ -s "$dir/all" ] || { echo "demo: no text files found below /usr" >&2; exit 1; }
# The loop ends when head has had enough and sed finds nobody reading.
(round=1; while sed "s/^/$round:/" "$dir/all"; do round=$((round + 1)); done) 2>/dev/null |
    head -c $((mib << 20)) >"$dir/input" || true
rm "$dir/all"

# NAME [SETTING...]: run the program, note its peak RSS (KiB), wall time and the output's hash
measure() {
    local name=$1 start
    shift
    start=$(date +%s.%N)
    # The shell's own child is the program: its peak is what getrusage() reports for children of this subshell.
    ( # shellcheck disable=SC2086  # a command line
        env "$@" $program <"$dir/input" >"$dir/output" & pid=$!
        peak=0
        while kill -0 $pid 2>/dev/null; do
            now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null || true)
            [ "${now:-0}" -le "$peak" ] || peak=$now
            sleep 0.02
        done
        wait $pid
        echo "$peak" >"$dir/$name.peak"
    )
    echo "$start $(date +%s.%N)" | awk '{printf "%.1f\n", $2 - $1}' >"$dir/$name.seconds"
    sha256sum <"$dir/output" | cut -c1-16 >"$dir/$name.sha256"
}

field() { sed -n "s/.*\"$1\": \([0-9a-z]*\).*/\1/p" "$dir/stats.json"; }

echo "running: $program"
measure plain GHOSTMEM_DISABLE=1
limit_pages=$(($(cat "$dir/plain.peak") / 4 / 4))
echo "running it with GhostMem at a quarter of $(($(cat "$dir/plain.peak") / 1024)) MiB ..."
measure ghost "LD_PRELOAD=$PWD/libghostmem.so" "GHOSTMEM_MAX_PAGES=$limit_pages" "GHOSTMEM_STATS=$dir/stats.json"

printf '\n%-22s %16s %16s\n' "" without "with GhostMem"
printf '%-22s %16s %16s\n' "output, sha256" "$(cat "$dir/plain.sha256")" "$(cat "$dir/ghost.sha256")"
printf '%-22s %12d MiB %12d MiB\n' "peak RSS" $(($(cat "$dir/plain.peak") / 1024)) $(($(cat "$dir/ghost.peak") / 1024))
printf '%-22s %14s s %14s s\n' "wall time" "$(cat "$dir/plain.seconds")" "$(cat "$dir/ghost.seconds")"
printf '%-22s %16s %10d pages\n' "limit" none "$limit_pages"
printf '%-22s %16s %10d pages\n' "resident at most" "" "$(field resident_pages_peak)"
printf '%-22s %16s %16d\n' "pages frozen" "" "$(field freezes)" "pages thawed" "" "$(field thaws)"
printf '%-22s %16s %13d KiB\n' "tables" "" $(($(field meta_bytes) / 1024))
ratio=$(awk -v f="$(field images_made)" -v u="$(field images_made_bytes)" 'BEGIN {if (u > 0) printf "%.2f", f * 4096 / u; else print "-"}')
printf '%-22s %16s %16s\n' "compression ratio" "" "$ratio"
cmp -s "$dir/plain.sha256" "$dir/ghost.sha256" || { echo "demo: the outputs differ" >&2; exit 1; }
[ "$(field engaged)" = true ] || { echo "demo: GhostMem did not engage: see its message above" >&2; exit 1; }
