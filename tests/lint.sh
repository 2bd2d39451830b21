#!/usr/bin/env bash
# lint.sh - what checkers say of the source that the compiler of the build does not: `make lint`, and with --quick, half a minute,
# `make check`.
#
# lint.sh [--quick] FLAG...: the flags of the library. Lines are at most 140 columns; clang has no warning; cppcheck finds nothing;
# and without --quick clang-tidy finds nothing either (.clang-tidy). What is not installed is said and left out. The layout is not checked:
# .clang-format and .editorconfig are for editors, and know nothing of tables. Exit: 0 when nothing was found.
set -u
cd "$(dirname "$0")/.." || exit

quick=false
if [ "${1-}" = --quick ]; then
    quick=true
    shift
fi
flags=("$@")
sources=$(find core platform interpose tools -name '*.c' | sort)
jobs=$(nproc)
bad=0

# NAME COMMAND...: the files on the command's standard input, one after the other; what it says is a fault.
check() {
    local name=$1 said
    shift
    if ! command -v "$name" >/dev/null; then
        echo "lint: $name is not installed: left out"
        return
    fi
    said=$("$@" 2>&1) && [ -z "$said" ] && return
    echo "lint: $name:"
    head -n 60 <<<"$said"
    bad=1
}

# shellcheck disable=SC2317 # check() calls it
each() { # COMMAND...: with each source in turn in the place of {}
    xargs -P "$jobs" -I{} "$@" <<<"$sources"
}

find core platform interpose tools tests bench -name '*.[ch]' -exec \
    awk 'length > 140 { print "lint: " FILENAME ":" FNR ": " length " columns"; bad = 1 } END { exit bad }' {} + || bad=1
check clang each clang -fsyntax-only "${flags[@]}" {}
# internalAstError: cppcheck 2.10 does not know a compound literal in a conditional expression.
check cppcheck cppcheck --quiet --enable=warning,portability --std=c11 -I. -j "$jobs" --inline-suppr --error-exitcode=1 \
    --suppress=missingIncludeSystem --suppress=internalAstError core platform interpose tools
if ! $quick; then
    sources=$(grep -v '/guard_table.c$' <<<"$sources") # a table: clang-tidy takes gigabytes for it
    check clang-tidy each timeout 120 clang-tidy --quiet {} -- "${flags[@]}"
fi
exit $bad
