#!/usr/bin/env bash
# glibc.sh DIR - build the C library's own tests of malloc, from Debian's package glibc-source, as ordinary programs.
#
# Of its support library, all that compiles outside of its own build; a test that does not link with that is a line.
# Nothing is built where the package is not installed. Calls: gcc, tar.
set -u

into=$1
source=$(find /usr/src/glibc -name 'glibc-*.tar.xz' 2>/dev/null | head -n 1)
TESTS="tst-calloc tst-free-errno tst-malloc tst-malloc-fork-deadlock tst-malloc-thread-exit tst-malloc-too-large tst-mallocfork tst-memalign tst-obstack tst-posix_memalign tst-pvalloc tst-realloc tst-reallocarray tst-valloc"
[ -n "$source" ] || exit 0
work=$(mktemp -d /tmp/ghostmem-glibc.XXXXXX)
trap 'rm -rf "$work"' EXIT
tar -xf "$source" -C "$work" --strip-components=1 --wildcards '*/malloc/tst-*' '*/support/*' '*/test-skeleton.c' \
    '*/include/array_length.h' '*/include/libc-diag.h' '*/include/intprops.h'
mkdir "$work/headers" "$work/objects"
cp "$work"/include/*.h "$work/headers"
compile=(gcc -std=gnu11 -D_GNU_SOURCE -DTIMEOUTFACTOR=1 -include limits.h -O1 -w -fno-builtin -I"$work" -I"$work/support" -I"$work/headers")
for file in "$work"/support/*.c; do
    case ${file##*/} in tst-* | *-container.c | links-* | *_main.c | test-*) [ "${file##*/}" = support_test_main.c ] || continue ;; esac
    "${compile[@]}" -c -o "$work/objects/$(basename "$file" .c).o" "$file" 2>/dev/null
done
echo 'const char support_objdir_root[] = "/nonexistent";' >"$work/root.c"
"${compile[@]}" -c -o "$work/objects/root.o" "$work/root.c"
ar rcs "$work/support.a" "$work"/objects/*.o
mkdir -p "$into"
for test in $TESTS; do
    "${compile[@]}" -o "$into/$test" "$work/malloc/$test.c" "$work/support.a" -lpthread 2>/dev/null || echo "glibc.sh: $test does not build"
done
