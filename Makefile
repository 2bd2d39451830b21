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
SIMULATOR = $(filter-out bench/simulate/simulate.c,$(wildcard bench/simulate/*.c))
OBJECTS = $(SOURCES:%.c=build/lib/%.o)

all: libghostmem.so ghostmem-core ghostmem

libghostmem.so: $(OBJECTS) ghostmem.map
	$(CC) $(CFLAGS) -o $@ $(OBJECTS) $(LINK)

# A thread that is cancelled in a call lets go of its buffer.
build/lib/interpose/guard_often.o: ALL_CFLAGS += -fexceptions

# ---- ghostmem-core: core files made whole, with the library's own parts ----

TOOL_OBJECTS = $(patsubst %.c,build/lib/%.o,$(wildcard tools/*.c)) \
               $(addprefix build/lib/,$(addsuffix .o,core/codec core/pool core/store core/pagetable core/log platform/mem platform/lock \
               platform/file platform/thread platform/inject))

ghostmem-core: $(TOOL_OBJECTS)
	$(CC) $(CFLAGS) -o $@ $(TOOL_OBJECTS) -l:liblz4.a

# ---- ghostmem: the command ----

COMMAND_OBJECTS = $(patsubst %.c,build/lib/%.o,$(wildcard tools/command/*.c) $(PLATFORM) core/config.c core/log.c interpose/backend.c)

ghostmem: $(COMMAND_OBJECTS)
	$(CC) $(CFLAGS) -o $@ $(COMMAND_OBJECTS) -l:libjansson.a -lpthread

COMMAND_TESTS = $(wildcard tests/command/test_*.c) tests/command/said.c tests/programs/run.c
build/tests/command: $(COMMAND_TESTS) tests/command/said.h tests/programs/run.h $(COMMAND_OBJECTS) build/tests/helper_static build/tests/helper_forbid
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(COMMAND_TESTS) $(filter-out build/lib/tools/%,$(COMMAND_OBJECTS)) -lcriterion -l:libjansson.a -lpthread

build/tests/helper_static: tests/command/helper_static.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -static -o $@ $<

build/tests/helper_forbid: tests/command/helper_forbid.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $<

build/lib/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d) $(TOOL_OBJECTS:.o=.d) $(COMMAND_OBJECTS:.o=.d)

# ---- unit tests: core modules, and the simulator's policies, with a fake fault backend ----

UNIT_CFLAGS = -std=c11 -D_GNU_SOURCE -DGHOSTMEM_INJECT -I. $(WARNINGS) -g -O1
UNIT_SOURCES = $(PLATFORM) $(CORE) tests/unit/fake.c tests/unit/contents.c $(wildcard tests/unit/test_*.c) $(SIMULATOR)
UNIT_DEPS = $(UNIT_SOURCES) $(wildcard platform/*.h core/*.h tests/unit/*.h bench/simulate/*.h)
UNIT_LIBS = -l:liblz4.a -l:libsodium.a -lpthread -lm

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

# ---- the library that records which pages are touched: see bench/trace/record.py ----

build/trace/libghostmem.so: $(SOURCES) bench/trace/record.c $(wildcard platform/*.h core/*.h interpose/*.h) ghostmem.map
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DGHOSTMEM_TRACE -o $@ $(SOURCES) bench/trace/record.c $(LINK)

# ---- programs under LD_PRELOAD: ours, and real ones ----

TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -g -O1
ALLOCATORS = $(addprefix build/tests/helper_with_,jemalloc mimalloc tcmalloc its_own)
HELPERS = build/tests/probe build/tests/helper_fill build/tests/helper_atomics build/tests/helper_redis build/tests/helper_memcached build/tests/helper_refuse \
          build/tests/blocks build/tests/ballast.so $(ALLOCATORS)

# The compiler must neither see through the misuse nor drop the calls that are under test.
build/tests/probe: $(wildcard tests/preload/probe*.[ch]) tests/preload/crash.h
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fno-builtin -Wno-free-nonheap-object -Wno-use-after-free -o $@ $(filter %.c,$^) -lpthread -ldl

build/tests/helper_refuse: tests/preload/helper_refuse.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $<

build/tests/helper_with_jemalloc: LINKED = -l:libjemalloc.so.2
build/tests/helper_with_mimalloc: LINKED = -DNAME_OF_ITS_OWN=mi_malloc -l:libmimalloc.so.2
build/tests/helper_with_tcmalloc: LINKED = -DNAME_OF_ITS_OWN=tc_malloc -l:libtcmalloc_minimal.so.4
build/tests/helper_with_its_own: LINKED = -DOWN_MALLOC
$(ALLOCATORS): tests/preload/helper_allocator.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fno-builtin -o $@ $< -Wl,--no-as-needed $(LINKED) -lpthread

build/tests/helper_redis build/tests/helper_memcached: build/tests/helper_%: tests/programs/helper_%.c tests/programs/client.c tests/programs/client.h
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(filter %.c,$^)

build/tests/helper_%: tests/programs/helper_%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $< -lpthread

build/tests/blocks: tests/soak/blocks.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $< -lpthread

build/tests/ballast.so: tests/soak/ballast.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fPIC -shared -o $@ $<

PRELOAD_SOURCES = $(wildcard tests/preload/test_*.c) tests/preload/outcome.c tests/programs/run.c tests/programs/results.c
build/tests/preload: $(PRELOAD_SOURCES) tests/preload/outcome.h tests/preload/crash.h core/corefile.h tests/programs/run.h tests/programs/results.h
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(PRELOAD_SOURCES) -lcriterion

PROGRAM_SOURCES = $(filter-out tests/programs/helper_%.c tests/programs/client.c,$(wildcard tests/programs/*.c))
build/tests/programs: $(PROGRAM_SOURCES) $(wildcard tests/programs/*.h)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $(PROGRAM_SOURCES) -lcriterion -lm

# ---- the commands ----

BUILD_PACKAGES = gcc libc6-dev liblz4-dev libsodium-dev libxxhash-dev libjansson-dev
TEST_PACKAGES = $(BUILD_PACKAGES) libcriterion-dev libasan8 libubsan1 libtsan2 util-linux python3 python3-numpy \
                xz-utils zstd sqlite3 git perl gawk coreutils procps redis-tools libpython3.11-testsuite \
                memcached postgresql-15 stress-ng gdb strace libjemalloc2 libmimalloc2.0 \
                libtcmalloc-minimal4 fish zsh
SOAK_PACKAGES = $(TEST_PACKAGES) memtester stressapptest glibc-source
BENCH_PACKAGES = $(BUILD_PACKAGES) python3 python3-numpy xz-utils util-linux redis-tools sqlite3 coreutils gnuplot-nox

deps-build:
	@tests/install.sh make $(BUILD_PACKAGES)
deps-test:
	@tests/install.sh make $(TEST_PACKAGES)
deps-soak:
	@tests/install.sh make $(SOAK_PACKAGES)
deps-bench:
	@tests/install.sh make $(BENCH_PACKAGES)

CHECK = GHOSTMEM_LIB=$(CURDIR)/libghostmem.so GHOSTMEM_INJECT_LIB=$(CURDIR)/build/inject/libghostmem.so GHOSTMEM_TEST_BIN=$(CURDIR)/build/tests \
        ASAN_OPTIONS=detect_leaks=0 tests/check.sh

# The backends that anybody may use, as an ordinary user: GHOSTMEM_TEST_USER is for setpriv(1).
NOBODY = env GHOSTMEM_TEST_USER=--reuid=65534
PRELOAD = build/tests/preload -j2 --verbose
PROBES = $(PRELOAD) --filter preload/probe_ends*
PROGRAMS = build/tests/programs -j2 --verbose
# The server of PostgreSQL will not run as root, who alone may have `thread`; Python's tests are about the guard.
FOR_ROOT = --filter !(python|postgres)/*@(_64|1024)_pages
BRIEFLY = --filter !(python)/*@(_64|1024)_pages
# What takes minutes is left to `make check-all`.
SHORT = --filter */!(test_io*|test_socket*|test_subprocess*|of_400_kb_at_22*)

check: deps-test
	@$(MAKE) --no-print-directory -j2 check-build
	@$(MAKE) --no-print-directory layers
	@$(CHECK) "unit=build/unit/plain -j2 --verbose" "unit, ASan and UBSan=build/unit/asan -j2 --verbose" \
	    "unit, TSan=build/unit/tsan" \
	    "command=build/tests/command -j2 --verbose" \
	    "preload=env GHOSTMEM_TEST_FAULTS=thread $(PRELOAD)" \
	    "probes, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROBES)" \
	    "probes, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROBES)" \
	    "programs, thread=env GHOSTMEM_TEST_FAULTS=thread $(PROGRAMS) $(FOR_ROOT)" \
	    "programs, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS) $(SHORT)" \
	    "programs, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS) $(BRIEFLY)" \
	    "programs, swap file=env GHOSTMEM_TEST_SWAP=/var/tmp $(PROGRAMS) $(FOR_ROOT)" \
	    "stress programs=tests/soak.sh --brief"

# Everything with every backend: an hour and more.
check-all: deps-test
	@$(MAKE) --no-print-directory -j2 check-build
	@$(CHECK) "preload, signal=env GHOSTMEM_TEST_FAULTS=signal $(PRELOAD)" "preload, segv=env GHOSTMEM_TEST_FAULTS=segv $(PRELOAD)" \
	    "programs, thread=env GHOSTMEM_TEST_FAULTS=thread $(PROGRAMS) --filter !(postgres)/*" \
	    "programs, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS)" \
	    "programs, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS)" \
	    "programs, swap file=$(NOBODY) GHOSTMEM_TEST_SWAP=/var/tmp $(PROGRAMS)"

# Other people's stress programs with every backend: a quarter of an hour.
soak: deps-soak
	@$(MAKE) --no-print-directory -j2 libghostmem.so build/tests/blocks build/tests/ballast.so
	@tests/soak/glibc.sh $(CURDIR)/build/tests/glibc
	@GHOSTMEM_LIB=$(CURDIR)/libghostmem.so GHOSTMEM_TEST_BIN=$(CURDIR)/build/tests tests/soak.sh

check-build: libghostmem.so ghostmem-core ghostmem build/tests/command build/inject/libghostmem.so build/unit/plain build/unit/asan build/unit/tsan build/tests/preload build/tests/programs build/bench/simulate $(HELPERS)

layers:
	@tests/layers.sh
	@tests/docs.sh

PREFIX ?= /usr/local
install: libghostmem.so ghostmem-core ghostmem
	install -D -m 755 libghostmem.so $(DESTDIR)$(PREFIX)/lib/libghostmem.so
	install -D -m 755 ghostmem-core $(DESTDIR)$(PREFIX)/bin/ghostmem-core
	install -D -m 755 ghostmem $(DESTDIR)$(PREFIX)/bin/ghostmem
	install -D -m 644 doc/ghostmem.1 $(DESTDIR)$(PREFIX)/share/man/man1/ghostmem.1
	install -D -m 644 doc/completion/ghostmem.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ghostmem
	install -D -m 644 doc/completion/_ghostmem $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ghostmem
	install -D -m 644 doc/completion/ghostmem.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ghostmem.fish
	install -D -m 644 doc/ghostmem-core.1 $(DESTDIR)$(PREFIX)/share/man/man1/ghostmem-core.1
	install -D -m 644 doc/libghostmem.7 $(DESTDIR)$(PREFIX)/share/man/man7/libghostmem.7
	install -D -m 644 doc/ghostmem.gdb $(DESTDIR)$(PREFIX)/share/ghostmem/ghostmem.gdb

demo: deps-build
	@$(MAKE) --no-print-directory libghostmem.so
	@bench/demo.sh

# ---- benchmarks ----

build/bench/workload: bench/workload.c bench/block.c bench/blocks.c bench/random.c bench/calls.c bench/pattern.c bench/draw.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -lpthread -lm

build/bench/floor: bench/floor.c bench/pattern.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -llz4 -lpthread

# ---- policies of page replacement, by traces ----

build/bench/simulate: $(SIMULATOR) bench/simulate/simulate.c $(wildcard bench/simulate/*.h) bench/pattern.h
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -O2 -o $@ $(filter %.c,$^) -lm

simulate: build/bench/simulate
	@build/bench/simulate
	@build/bench/simulate --read-ahead

# What real programs touch: TRACES=DIRECTORY of bench/trace/record.py.
TRACES = build/traces
simulate-programs: build/bench/simulate build/trace/libghostmem.so
	@test -d $(TRACES) || bench/trace/record.py $(TRACES)
	@build/bench/simulate --read-ahead $(TRACES)/*.trace

bench: deps-bench
	@$(MAKE) --no-print-directory libghostmem.so build/bench/workload build/bench/floor
	@bench/run.py

# The README's curve: measures for some minutes, then draws. bench/plot.py --draw-only draws it again from the same figures.
bench-plot: deps-bench
	@$(MAKE) --no-print-directory libghostmem.so build/bench/workload
	@bench/plot.py

clean:
	rm -rf build libghostmem.so ghostmem-core ghostmem

.PHONY: all clean install check check-all soak check-build layers demo bench bench-plot simulate simulate-programs deps-build deps-test deps-soak deps-bench
