#!/usr/bin/env bash
# docs.sh - doc/settings.md, the manual pages and the completions know every setting, and no other, and the README none but these;
# doc/statistics.md knows every key of the statistics, doc/map.md every file; links and functions that documents name are there; the
# README stays short; the tests know every row of the table of calls.
set -u
cd "$(dirname "$0")/.."

bad=0
complain() {
    echo "$1"
    bad=1
}

settings=$(sed -n 's/^    {"\([A-Z_]*\)", parse_.*/GHOSTMEM_\1/p' core/config.c | sort)
[ -n "$settings" ] || complain "docs.sh: no settings found in core/config.c"
for document in doc/settings.md doc/libghostmem.7; do
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
    known=$(sed 's/^--//' <<<"$known" | grep -vxE 'force|help|version|json|output|timeout|once|sort|delay' | sort -u)
    [ "$options" = "$known" ] ||
        complain "$document: its options are not the settings: $(diff <(echo "$options") <(echo "$known") | grep '^[<>]' | tr '\n' ' ')"
done

keys=$(sed -n 's/^    NUMBER(\([a-z_]*\)),/\1/p' core/stats.c)
[ -n "$keys" ] || complain "docs.sh: no keys found in core/stats.c"
described=$(cat doc/statistics.md)
for key in $keys; do
    grep -qw "$key" <<<"$described" || complain "doc/statistics.md: the statistics' key $key is not described"
done

# What the README says of settings and keys is there.
for setting in $(grep -oE 'GHOSTMEM_[A-Z_]+' README.md | sort -u); do
    grep -qx "$setting" <<<"$settings" || complain "README.md: there is no setting $setting"
done
[ "$(wc -c <README.md)" -le 9216 ] || complain "README.md: $(wc -c <README.md) bytes, more than 9 KB"

if command -v groff >/dev/null; then
    for page in doc/*.[137]; do
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
# The map names every file of the source, and no other.
mapped=$(sed -nE 's/^\| ((platform|core|interpose|tools)\/[a-z_./ ]*) \|.*/\1/p' doc/map.md | tr ' ' '\n' | grep -v '/$' | sort)
files=$(find platform core interpose tools -type f | sort)
[ "$files" = "$mapped" ] ||
    complain "doc/map.md: its files are not those of the source: $(diff <(echo "$files") <(echo "$mapped") | grep '^[<>]' | tr '\n' ' ')"

# Its locks are those of platform/lock.h, in the same order, and each has a name for who breaks the order.
ranks=$(sed -nE 's/^    (LOCK_[A-Z]+),.*/\1/p' platform/lock.h | grep -vxE 'LOCK_NONE|LOCK_RANKS')
[ -n "$ranks" ] || complain "docs.sh: no locks found in platform/lock.h"
[ "$ranks" = "$(sed -nE 's/^\| (LOCK_[A-Z]+) \|.*/\1/p' doc/map.md)" ] || complain "doc/map.md: its locks are not those of platform/lock.h, in their order"
[ "$ranks" = "$(sed -nE 's/^    \[(LOCK_[A-Z]+)\] = "\1",/\1/p' platform/lock_check.c)" ] || complain "platform/lock_check.c: its names are not those of platform/lock.h"

# What a document links to is in the repository.
for document in README.md CONTRIBUTING.md doc/*.md; do
    for target in $(grep -oE '\]\([A-Za-z0-9_./-]+[)#]' "$document" | sed 's/^](//; s/[)#]$//'); do
        [ -e "$(dirname "$document")/$target" ] || complain "$document: links to $target, which is not there"
    done
done

# Functions that documents name: `name()`. Ours are defined, or listed in a header; the others are libc's or the kernel's.
defined=$(cat platform/*.[ch] core/*.[ch] interpose/*.[ch])
for name in $(grep -ohE '`[a-z_]+\(\)`' CONTRIBUTING.md doc/*.md | tr -d '`()' | sort -u); do
    grep -qw "$name" <<<"$defined" || complain "a document names $name(), which is not in the source"
done

# What programs were linked with stays: doc/ghostmem.abi lists the names of the library that are its own.
abi=$(sed -n '/global:/,/local:/p' ghostmem.map | tr ' ;' '\n\n' | grep '^ghostmem_' | sort)
[ "$abi" = "$(grep -E '^ghostmem_[a-z_]+$' doc/ghostmem.abi)" ] ||
    complain "doc/ghostmem.abi: its names are not those of ghostmem.map: names may be added, there and here, and none may go"
for name in $abi; do
    grep -q "$name(" interpose/ghostmem.h || complain "interpose/ghostmem.h: $name() is not declared"
    grep -qE "\\b$name\\b" doc/ghostmem*.3 || complain "doc/ghostmem*.3: $name(3) is not described"
done
exit $bad
