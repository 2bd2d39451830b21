# GhostMem. The two commands of the README: make demo, make check. Everything is built below build/.

CC ?= gcc
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef \
           -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
             -fno-stack-protector -DNDEBUG $(CFLAGS)
LINK = -shared -Wl,--version-script=ghostmem.map -Wl,-z,defs,-z,relro,-z,now,-z,nodelete \
       -Wl,--exclude-libs,ALL -l:liblz4.a -l:libsodium.a -lpthread -ldl

PLATFORM = $(wildcard platform/*.c)
CORE = $(wildcard core/*.c)
INTERPOSE = $(wildcard interpose/*.c)
SOURCES = $(PLATFORM) $(CORE) $(INTERPOSE)
OBJECTS = $(SOURCES:%.c=build/lib/%.o)

all: libghostmem.so

libghostmem.so: $(OBJECTS) ghostmem.map
	$(CC) $(CFLAGS) -o $@ $(OBJECTS) $(LINK)

build/lib/interpose/guard.o: ALL_CFLAGS += -fexceptions

build/lib/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

# ---- unit tests: core modules with a fake fault backend ----

UNIT_CFLAGS = -std=c11 -D_GNU_SOURCE -DGHOSTMEM_INJECT -I. $(WARNINGS) -g -O1
UNIT_SOURCES = $(PLATFORM) $(CORE) tests/unit/fake.c $(wildcard tests/unit/test_*.c)
UNIT_DEPS = $(UNIT_SOURCES) $(wildcard platform/*.h core/*.h tests/unit/*.h)
UNIT_LIBS = -l:liblz4.a -l:libsodium.a -lpthread

build/unit/plain: $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -o $@ $(UNIT_SOURCES) -lcriterion $(UNIT_LIBS)

build/unit/asan: $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $(UNIT_SOURCES) -lcriterion $(UNIT_LIBS)

# Criterion and ThreadSanitizer claim the same addresses: see tests/unit/unit.h.
build/unit/tsan: $(UNIT_DEPS) tests/unit/unit_main.c
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -DUNIT_IN_PROCESS -fsanitize=thread -o $@ $(UNIT_SOURCES) tests/unit/unit_main.c $(UNIT_LIBS)

# ---- the library with failing calls: OS_INJECT=n in the environment fails the n-th of platform/ ----

build/inject/libghostmem.so: $(SOURCES) $(wildcard platform/*.h core/*.h interpose/*.h) ghostmem.map
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DGHOSTMEM_INJECT -o $@ $(SOURCES) $(LINK)

# ---- programs under LD_PRELOAD: ours, and real ones ----

TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -g -O1
HELPERS = build/tests/probe build/tests/helper_fill build/tests/helper_atomics build/tests/helper_redis build/tests/helper_memcached build/tests/helper_refuse

# The compiler must neither see through the misuse nor drop the calls that are under test.
build/tests/probe: $(wildcard tests/preload/probe*.[ch])
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fno-builtin -Wno-free-nonheap-object -Wno-use-after-free -o $@ $(filter %.c,$^) -lpthread -ldl

build/tests/helper_refuse: tests/preload/helper_refuse.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $<

build/tests/helper_%: tests/programs/helper_%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $< -lpthread

PRELOAD_SOURCES = $(wildcard tests/preload/test_*.c) tests/preload/outcome.c tests/programs/run.c
build/tests/preload: $(PRELOAD_SOURCES) tests/preload/outcome.h tests/programs/run.h
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(PRELOAD_SOURCES) -lcriterion

PROGRAM_SOURCES = $(filter-out tests/programs/helper_%.c,$(wildcard tests/programs/*.c))
build/tests/programs: $(PROGRAM_SOURCES) $(wildcard tests/programs/*.h)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(PROGRAM_SOURCES) -lcriterion -lm

# ---- the commands ----

BUILD_PACKAGES = gcc libc6-dev liblz4-dev libsodium-dev libxxhash-dev
TEST_PACKAGES = $(BUILD_PACKAGES) libcriterion-dev libasan8 libubsan1 libtsan2 util-linux python3 python3-numpy \
                xz-utils zstd sqlite3 git perl gawk coreutils procps redis-tools libpython3.11-testsuite \
                memcached postgresql-15
BENCH_PACKAGES = $(BUILD_PACKAGES) python3 xz-utils util-linux redis-tools

deps-build:
	@tests/install.sh make $(BUILD_PACKAGES)
deps-test:
	@tests/install.sh make $(TEST_PACKAGES)
deps-bench:
	@tests/install.sh make $(BENCH_PACKAGES)

CHECK = GHOSTMEM_LIB=$(CURDIR)/libghostmem.so GHOSTMEM_INJECT_LIB=$(CURDIR)/build/inject/libghostmem.so GHOSTMEM_TEST_BIN=$(CURDIR)/build/tests \
        ASAN_OPTIONS=detect_leaks=0 tests/check.sh

# The backends that anybody may use, as an ordinary user: GHOSTMEM_TEST_USER is for setpriv(1).
AS_NOBODY = GHOSTMEM_TEST_USER=--reuid=65534
PROBES = build/tests/preload -j2 --verbose --filter preload/probe_ends*
PROGRAMS = build/tests/programs -j2 --verbose
BELOW_64_MIB = --filter */*@(5|64|1024|4096)_pages
# Python's own tests are about the guard, which these two do without or have with the others.
NO_GUARD = --filter !(python)/*@(5|64|1024|4096)_pages

check: deps-test
	@$(MAKE) --no-print-directory -j2 check-build
	@$(MAKE) --no-print-directory layers
	@$(CHECK) "unit=build/unit/plain -j2 --verbose" "unit, ASan and UBSan=build/unit/asan -j2 --verbose" \
	    "unit, TSan=build/unit/tsan" \
	    "preload=env GHOSTMEM_TEST_FAULTS=thread build/tests/preload -j2 --verbose" \
	    "probes, signal, as nobody=env GHOSTMEM_TEST_FAULTS=signal $(AS_NOBODY) $(PROBES)" \
	    "probes, segv, as nobody=env GHOSTMEM_TEST_FAULTS=segv $(AS_NOBODY) $(PROBES)" \
	    "real programs, thread=env GHOSTMEM_TEST_FAULTS=thread $(PROGRAMS) $(NO_GUARD)" \
	    "real programs, signal=env GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS)" \
	    "real programs, segv=env GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS) $(BELOW_64_MIB)" \
	    "real programs, swap file=env GHOSTMEM_TEST_SWAP=/var/tmp $(PROGRAMS) $(NO_GUARD)"

check-build: libghostmem.so build/inject/libghostmem.so build/unit/plain build/unit/asan build/unit/tsan build/tests/preload build/tests/programs $(HELPERS)

layers:
	@tests/layers.sh

demo: deps-build
	@$(MAKE) --no-print-directory libghostmem.so
	@bench/demo.sh

# ---- benchmarks ----

build/bench/workload: bench/workload.c bench/block.c bench/random.c bench/calls.c bench/pattern.c bench/draw.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -lpthread -lm

build/bench/floor: bench/floor.c bench/pattern.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -llz4

bench: deps-bench
	@$(MAKE) --no-print-directory libghostmem.so build/bench/workload build/bench/floor
	@bench/run.py

clean:
	rm -rf build libghostmem.so

.PHONY: all clean check check-build layers demo bench deps-build deps-test deps-bench
