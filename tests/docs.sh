#!/usr/bin/env bash
# docs.sh - the README, the manual pages and the completions know every setting, and no other; the README knows every key
# of the statistics; the probes know every row of the table of calls.
set -u
cd "$(dirname "$0")/.."

bad=0
complain() {
    echo "$1"
    bad=1
}

settings=$(sed -n 's/^    {"\([A-Z_]*\)", parse_.*/GHOSTMEM_\1/p' core/config.c | sort)
[ -n "$settings" ] || complain "docs.sh: no settings found in core/config.c"
for document in README.md doc/libghostmem.7; do
    case $document in
    *.md) documented=$(sed -n 's/^| \(GHOSTMEM_[A-Z_]*\) |.*/\1/p' "$document" | sort) ;;
    *) documented=$(sed -n 's/^\.BI\{0,1\}R\{0,1\} \(GHOSTMEM_[A-Z_]*\)=.*/\1/p' "$document" | sort) ;;
    esac
    [ "$settings" = "$documented" ] ||
        complain "$document: its settings are not those of core/config.c: $(diff <(echo "$settings") <(echo "$documented") | grep '^[<>]' | tr '\n' ' ')"
done

# The command has an option for each, and its manual page and completions know them.
options=$(sed 's/^GHOSTMEM_//; y/ABCDEFGHIJKLMNOPQRSTUVWXYZ_/abcdefghijklmnopqrstuvwxyz-/' <<<"$settings")
for document in doc/ghostmem.1 doc/completion/*; do
    case $document in
    *.1) known=$(sed 's/\\-/-/g' "$document" | grep -o -e '--[a-z][a-z-]*') ;;
    *.fish) known=$(sed -n 's/^complete.* -l \([a-z-]*\) .*/--\1/p' "$document") ;;
    *) known=$(grep -o -e '--[a-z][a-z-]*' "$document") ;;
    esac
    known=$(sed 's/^--//' <<<"$known" | grep -vxE 'force|help|version|json|output' | sort -u)
    [ "$options" = "$known" ] ||
        complain "$document: its options are not the settings: $(diff <(echo "$options") <(echo "$known") | grep '^[<>]' | tr '\n' ' ')"
done

keys=$(sed -n 's/^    NUMBER(\([a-z_]*\)),/\1/p' core/stats.c)
[ -n "$keys" ] || complain "docs.sh: no keys found in core/stats.c"
described=$(sed -n '/^## Reading the statistics/,/^## The swap file/p' README.md)
for key in $keys; do
    grep -qw "$key" <<<"$described" || complain "README.md: the statistics' key $key is not described"
done

if command -v groff >/dev/null; then
    for page in doc/*.[17]; do
        warnings=$(groff -man -Tutf8 -ww "$page" 2>&1 >/dev/null)
        [ -z "$warnings" ] || complain "$page: $warnings"
    done
fi
# Every row of the guard's table of calls that touches memory has a case, or names the probe that has it.
rows=$(sed -n 's/^    ROW(\([a-z0-9_]*\), TOUCHES(.*/\1/p' interpose/guard_table.c)
[ -n "$rows" ] || complain "docs.sh: no rows found in interpose/guard_table.c"
for row in $rows; do
    grep -qE "^    (C|ELSEWHERE)\\($row[,)]" tests/preload/probe_rows.c || complain "interpose/guard_table.c: $row has no case in tests/preload/probe_rows.c"
done
exit $bad
