#!/usr/bin/env bash
# layers.sh - a file includes only files of lower layers (CONTRIBUTING.md: never upwards, never sideways). Called by `make check`.
set -u

# Lower numbers are lower layers. A module may include its own header.
layer() {
    case $1 in
    platform/*) echo 0 ;;
    core/base.h) echo 1 ;;
    core/rangeset.*) echo 2 ;;
    core/space.*) echo 3 ;;
    core/log.* | core/duel.* | core/trace.h | core/bitset.*) echo 2 ;;
    core/config.* | core/stats.*) echo 3 ;;
    core/codec.* | core/pool.* | core/seal.*) echo 3 ;;
    core/squeeze.* | core/teach.*) echo 4 ;;
    core/store.* | core/swap.* | core/swap_tend.*) echo 5 ;;
    core/pagetable.* | core/fetch.* | core/kept.* | core/around.*) echo 6 ;;
    core/cold.* | core/queue.* | core/history.* | core/limbo.* | core/stream.* | core/hold.* | core/marks.*) echo 7 ;;
    core/corefile.* | core/visit.* | core/writeback.* | core/writeback_round.* | core/writeback_clean.* | core/writeback_kept.* | core/writeback_cold.*) echo 8 ;;
    core/reclaim.* | core/reclaim_cool.* | core/reclaim_freeze.* | core/reclaim_extract.* | core/reclaim_sweep.*) echo 9 ;;
    core/pager.* | core/pager_block.* | core/pager_bring.* | core/pager_fault.* | core/pager_hold.* | core/pager_limit.* | core/pager_far.* | core/pager_far_move.* | core/pager_fork.* | core/pager_protect.* | core/pager_lock.* | core/pager_cede.*) echo 10 ;;
    core/heap.* | core/heap_bins.* | core/heap_tags.* | core/heap_walk.*) echo 11 ;;
    core/slab.* | core/slab_records.*) echo 12 ;;
    interpose/* | tools/*) echo 13 ;;
    *) echo "" ;;
    esac
}

# The files of one module: core/pager_block.c belongs to pager.
module() {
    local m=${1%.*}
    case $m in
    core/heap_* | core/pager_* | core/reclaim_* | core/slab_* | core/swap_* | core/writeback_*) m=${m%%_*} ;;
    esac
    echo "$m"
}

bad=0
for file in platform/*.[ch] core/*.[ch] interpose/*.[ch] tools/*.[ch] tools/*/*.[ch]; do
    own=$(layer "$file")
    if [ -z "$own" ]; then
        echo "$file: no layer is known for it"
        bad=1
        continue
    fi
    while read -r included; do
        theirs=$(layer "$included")
        [ "$(module "$file")" = "$(module "$included")" ] && continue
        [ "$own" -eq 0 ] && [ "${theirs:-99}" -eq 0 ] && continue
        [ "$own" -eq 13 ] && [ "${theirs:-99}" -le 13 ] && continue
        if [ -z "$theirs" ] || [ "$theirs" -ge "$own" ]; then
            echo "$file (layer $own) includes $included (layer ${theirs:-unknown})"
            bad=1
        fi
    done < <(sed -n 's/^#include "\(.*\)"/\1/p' "$file")
done
exit $bad
