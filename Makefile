# GhostMem. The two commands of the README: make demo, make check. `make help` has the others. Everything is built below build/.

# make's own default is cc; the environment and the command line may choose another compiler.
ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef \
           -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Werror
LINK = -shared -Wl,-soname,$(SONAME) -Wl,--version-script=ghostmem.map -Wl,-z,defs,-z,relro,-z,now,-z,nodelete \
       -Wl,--exclude-libs,ALL -l:liblz4.a -l:libsodium.a -lpthread -ldl

VERSION = $(shell sed -n 's/^#define GHOSTMEM_VERSION "\(.*\)"/\1/p' core/base.h)
# Its number changes when a program that was linked before would not run any more.
SONAME = libghostmem.so.0

all: libghostmem.so libghostmem.a ghostmem-core ghostmem

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

# ---- sources: those of some folders, and of the folders in these ----

find = $(sort $(foreach folder,$(1),$(wildcard $(folder)/*.c $(folder)/*/*.c)))
PLATFORM = $(call find,platform)
CORE = $(call find,core)
INTERPOSE = $(call find,interpose)
SOURCES = $(PLATFORM) $(CORE) $(INTERPOSE)
SIMULATOR = $(filter-out bench/simulate/simulate.c,$(wildcard bench/simulate/*.c))

# ---- objects: build/VARIANT/SOURCE.o ----
#
# A source is compiled once for each variant that needs it. FLAGS_ and the variant's name: its flags; an object is made anew
# when they, or the compiler, change. MORE_FLAGS_ and a file's name without folder and end: what this file needs besides.

BASE_FLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS)
LIBRARY_FLAGS = $(BASE_FLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-stack-protector -DNDEBUG $(CFLAGS)
UNIT_FLAGS = $(BASE_FLAGS) -DGHOSTMEM_INJECT -DGHOSTMEM_CHECK -g -O1

FLAGS_lib = $(LIBRARY_FLAGS)
FLAGS_inject = $(LIBRARY_FLAGS) -DGHOSTMEM_INJECT -DGHOSTMEM_CHECK
FLAGS_static = $(LIBRARY_FLAGS) -DGHOSTMEM_STATIC
FLAGS_trace = $(LIBRARY_FLAGS) -DGHOSTMEM_TRACE
FLAGS_unit = $(UNIT_FLAGS)
FLAGS_asan = $(UNIT_FLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan = $(UNIT_FLAGS) -DUNIT_IN_PROCESS -fsanitize=thread
FLAGS_check = $(BASE_FLAGS) -g -O1
VARIANTS = lib static inject trace unit asan tsan check

# A thread that is cancelled in a call lets go of its buffer.
MORE_FLAGS_guard_often = -fexceptions

objects = $(patsubst %.c,build/$(1)/%.o,$(2))

define VARIANT
build/$(1)/%.o: %.c build/$(1)/flags
	@mkdir -p $$(@D)
	@echo "  $$(CC) ($(1)) $$<"
	@$$(CC) $$(FLAGS_$(1)) $$(MORE_FLAGS_$$(*F)) -MMD -MP -c -o $$@ $$<

build/$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC) $$(FLAGS_$(1))' | cmp -s - $$@ || echo '$$(CC) $$(FLAGS_$(1))' >$$@
endef
$(foreach variant,$(VARIANTS),$(eval $(call VARIANT,$(variant))))
FORCE:

# ---- libzstd, whose memory is ours: core/teach.h ----

ZSTD = build/libzstd.a
$(ZSTD):
	@mkdir -p $(@D)
	@echo "  copy $@"
	@objcopy $(foreach call,malloc calloc free stderr,--redefine-sym $(call)=teach_$(call)) \
	    $(foreach call,compress_begin compress_end decompress_begin decompress_end,--redefine-sym ZSTD_trace_$(call)=teach_no_$(call)) \
	    "$$($(CC) -print-file-name=libzstd.a)" $@

# ---- the library; with failing calls: OS_INJECT=n in the environment fails the n-th of platform/; one that records which
# ---- pages are touched: see bench/trace/record.py

libghostmem.so: $(call objects,lib,$(SOURCES))
build/inject/libghostmem.so: $(call objects,inject,$(SOURCES))
build/trace/libghostmem.so: $(call objects,trace,$(SOURCES) bench/trace/record.c)
libghostmem.so build/inject/libghostmem.so build/trace/libghostmem.so: ghostmem.map $(ZSTD)
	@echo "  link $@"
	@$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) $(ZSTD) $(LINK)

# ---- the archive: one object with what it needs of other libraries, whose only names are ghostmem.h's. What would take the place of
# ---- a function of libc's has another name there, before the one file that calls libc's by their names comes in.

ARCHIVE_DIFFERS = platform/dispatch.c interpose/init.c interpose/libc.c interpose/linked.c
ARCHIVE_OBJECTS = $(call objects,lib,$(filter-out $(ARCHIVE_DIFFERS),$(SOURCES))) \
                  $(call objects,static,$(filter-out %/libc.c,$(ARCHIVE_DIFFERS)))

build/static/names: ghostmem.map
	@mkdir -p $(@D)
	@sed -n '/global:/,/local:/p' ghostmem.map | tr ' ;' '\n\n' | grep -E '^[a-z_]+[0-9A-Za-z_]*$$' | sort -u >$@

libghostmem.a: $(ARCHIVE_OBJECTS) build/static/interpose/libc.o build/static/names $(ZSTD)
	@echo "  archive $@"
	@$(CC) -r -nostdlib -o build/static/inner.o $(ARCHIVE_OBJECTS) $(ZSTD) -l:liblz4.a -l:libsodium.a
	@grep -v '^ghostmem_' build/static/names | sed 's/.*/& ghost_own_&/' >build/static/renamed
	@objcopy --redefine-syms=build/static/renamed build/static/inner.o
	@$(CC) -r -nostdlib -o build/static/ghostmem.o build/static/inner.o build/static/interpose/libc.o
	@objcopy $$(sed -n 's/^ghostmem_/--keep-global-symbol=&/p' build/static/names) \
	    $$(objdump -h build/static/ghostmem.o | grep -o ' \.text[^ ]*' | sort -u | sed 's/^ \(.*\)/--rename-section \1=ghostmem_text/') \
	    build/static/ghostmem.o
	@rm -f $@ && ar rcs $@ build/static/ghostmem.o

# ---- ghostmem-core: core files made whole, with the library's own parts ----

TOOL_PARTS = codec pool squeeze teach store pagetable log mem lock file thread inject
TOOL_SOURCES = $(wildcard tools/*.c) $(foreach part,$(TOOL_PARTS),$(filter %/$(part).c,$(PLATFORM) $(CORE)))

ghostmem-core: $(call objects,lib,$(TOOL_SOURCES)) $(ZSTD)
	@echo "  link $@"
	@$(CC) $(CFLAGS) -o $@ $^ -l:liblz4.a -lpthread

# ---- ghostmem: the command, and its tests ----

COMMAND_PARTS = $(PLATFORM) $(filter %/config.c %/log.c,$(CORE)) $(filter %/backend.c,$(INTERPOSE))
COMMAND_SOURCES = $(wildcard tools/command/*.c)
COMMAND_TESTS = $(wildcard tests/command/test_*.c) tests/command/said.c tests/command/running.c tests/programs/run.c
COMMAND_HELPERS = $(addprefix build/tests/,helper_loaderless helper_forbid helper_verify)

ghostmem: $(call objects,lib,$(COMMAND_SOURCES) $(COMMAND_PARTS))
	@echo "  link $@"
	@$(CC) $(CFLAGS) -o $@ $^ -l:libjansson.a -l:libncursesw.a -l:libtinfo.a -lpthread

build/tests/command: $(call objects,check,$(COMMAND_TESTS)) $(call objects,lib,$(COMMAND_PARTS) tools/command/process.c) | ghostmem $(COMMAND_HELPERS)
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lcriterion -l:libjansson.a -lpthread

build/tests/helper_loaderless: LINKED = -static
$(COMMAND_HELPERS): build/tests/%: build/check/tests/command/%.o
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) $(LINKED) -o $@ $^ -lpthread

# ---- unit tests: core modules, and the simulator's policies, with a fake fault backend ----

UNIT_SOURCES = $(PLATFORM) $(CORE) $(filter-out %/unit_main.c,$(call find,tests/unit)) $(SIMULATOR)
UNIT_LIBS = -l:liblz4.a -l:libsodium.a -lpthread -lm

build/unit/plain: $(call objects,unit,$(UNIT_SOURCES)) $(ZSTD)
	@echo "  link $@"
	@$(CC) $(FLAGS_unit) -o $@ $^ -lcriterion $(UNIT_LIBS)

build/unit/asan: $(call objects,asan,$(UNIT_SOURCES)) $(ZSTD)
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) $(FLAGS_asan) -o $@ $^ -lcriterion $(UNIT_LIBS)

# Criterion and ThreadSanitizer claim the same addresses: see tests/unit/unit.h.
build/unit/tsan: $(call objects,tsan,$(UNIT_SOURCES) tests/unit/unit_main.c) $(ZSTD)
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) $(FLAGS_tsan) -o $@ $^ $(UNIT_LIBS)

# ---- programs under LD_PRELOAD: ours, and real ones ----

ALLOCATORS = $(addprefix build/tests/helper_with_,jemalloc mimalloc tcmalloc its_own)
HELPERS = $(addprefix build/tests/,probe helper_fill helper_static helper_kinds helper_coroutines helper_tls helper_atomics helper_speed helper_redis helper_memcached helper_refuse \
          blocks ballast.so plugin.so plugin_bound.so memcalls) $(ALLOCATORS)

PROBE_SOURCES = $(wildcard tests/preload/probe*.c)
PRELOAD_SOURCES = $(wildcard tests/preload/test_*.c) tests/preload/outcome.c $(addprefix tests/programs/,run.c results.c plain.c)
PROGRAM_SOURCES = $(filter-out tests/programs/helper_%.c tests/programs/client.c,$(wildcard tests/programs/*.c))

# The compiler must neither see through the misuse nor drop the calls that are under test.
MISUSE = -fno-builtin -Wno-unknown-warning-option -Wno-free-nonheap-object -Wno-use-after-free
$(foreach source,$(PROBE_SOURCES),$(eval MORE_FLAGS_$(basename $(notdir $(source))) = $(MISUSE)))

# The table of system calls is data: the probes go through it too.
build/tests/probe: $(call objects,check,$(PROBE_SOURCES) interpose/guard_table.c)
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lpthread -ldl

build/tests/preload: $(call objects,check,$(PRELOAD_SOURCES))
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lcriterion

build/tests/programs: $(call objects,check,$(PROGRAM_SOURCES))
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lcriterion -lm

build/tests/helper_redis build/tests/helper_memcached: build/tests/helper_%: \
        build/check/tests/programs/helper_%.o build/check/tests/programs/client.o
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^

build/tests/helper_refuse: build/check/tests/preload/helper_refuse.o
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^

build/tests/helper_%: build/check/tests/programs/helper_%.o
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lpthread

build/tests/memcalls: $(call objects,check,$(wildcard tests/fuzz/*.c))
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lpthread -ldl

build/tests/blocks: build/check/tests/soak/blocks.o
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lpthread

build/tests/ballast.so: tests/soak/ballast.c build/check/flags
build/tests/plugin.so: tests/preload/helper_plugin.c build/check/flags
build/tests/plugin_bound.so: tests/preload/helper_plugin.c build/check/flags
build/tests/plugin.so: LINKED = -Wl,-z,lazy
build/tests/plugin_bound.so: LINKED = -Wl,-z,now,-z,relro
build/tests/ballast.so build/tests/plugin.so build/tests/plugin_bound.so:
	@mkdir -p $(@D)
	@echo "  $(CC) $<"
	@$(CC) $(FLAGS_check) -fPIC -shared -o $@ $< $(LINKED)

build/tests/helper_with_jemalloc: LINKED = -l:libjemalloc.so.2
build/tests/helper_with_mimalloc: LINKED = -DNAME_OF_ITS_OWN=mi_malloc -l:libmimalloc.so.2
build/tests/helper_with_tcmalloc: LINKED = -DNAME_OF_ITS_OWN=tc_malloc -l:libtcmalloc_minimal.so.4
build/tests/helper_with_its_own: LINKED = -DOWN_MALLOC
$(ALLOCATORS): tests/preload/helper_allocator.c build/check/flags
	@mkdir -p $(@D)
	@echo "  $(CC) $< ($(@F))"
	@$(CC) $(FLAGS_check) -fno-builtin -o $@ $< -Wl,--no-as-needed $(LINKED) -lpthread

# ---- programs that are written for GhostMem: tests/library ----

LIBRARY_USERS = $(addprefix build/library/,use use_archive use_static use_dlopen use_cpp17 use_cpp20 documents pmr_map)
USE_FLAGS = -g -O1 -Iinterpose -Iinclude
USE_SHARED = -Lbuild/library -lghostmem -Wl,-rpath,'$$ORIGIN'
USE_WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
USE_HEADERS = interpose/ghostmem.h $(wildcard include/*.hpp include/ghostmem/*.h)

# As they are installed: the name that programs are linked with, and the one that they ask for.
build/library/$(SONAME): libghostmem.so
	@mkdir -p $(@D)
	@cp $< $@ && ln -sf $(@F) $(@D)/libghostmem.so

build/library/use: LINKED = $(USE_SHARED)
build/library/use_archive build/library/use_static: libghostmem.a
build/library/use_archive: LINKED = libghostmem.a
build/library/use_static: LINKED = -static libghostmem.a
$(filter-out %_dlopen %17 %20 %documents %pmr_map,$(LIBRARY_USERS)): build/library/%: tests/library/use.c interpose/ghostmem.h build/library/$(SONAME) Makefile
	@echo "  $(CC) $< ($(@F))"
	@$(CC) -std=c11 -D_GNU_SOURCE $(USE_WARNINGS) $(USE_FLAGS) -o $@ $< $(LINKED) -lpthread

build/library/use_dlopen: tests/library/use_dlopen.c build/library/$(SONAME)
	@echo "  $(CC) $<"
	@$(CC) -std=c11 -D_GNU_SOURCE $(USE_WARNINGS) $(USE_FLAGS) -o $@ $< -ldl

build/library/use_cpp17: COMPILER = g++ -std=c++17
build/library/use_cpp20: COMPILER = clang++ -std=c++20
build/library/use_cpp17 build/library/use_cpp20: tests/library/use.cpp $(USE_HEADERS) build/library/$(SONAME) Makefile
	@echo "  $(COMPILER) $<"
	@$(COMPILER) $(USE_WARNINGS) $(USE_FLAGS) -o $@ $< $(USE_SHARED)

build/library/documents: examples/documents.c build/library/$(SONAME)
	@echo "  $(CC) $<"
	@$(CC) -std=c11 $(USE_WARNINGS) $(USE_FLAGS) -o $@ $< $(USE_SHARED)

build/library/pmr_map: examples/pmr_map.cpp $(USE_HEADERS) build/library/$(SONAME)
	@echo "  g++ $<"
	@g++ -std=c++17 $(USE_WARNINGS) $(USE_FLAGS) -o $@ $< $(USE_SHARED)

build/tests/library: $(call objects,check,tests/library/test_library.c tests/programs/run.c) | $(LIBRARY_USERS)
	@mkdir -p $(@D)
	@echo "  link $@"
	@$(CC) -o $@ $^ -lcriterion

# ---- the commands ----

BUILD_PACKAGES = gcc binutils libc6-dev liblz4-dev libzstd-dev libsodium-dev libxxhash-dev libjansson-dev libncurses-dev
TEST_PACKAGES = $(BUILD_PACKAGES) g++ libcriterion-dev libasan8 libubsan1 libtsan2 util-linux python3 python3-numpy \
                xz-utils zstd sqlite3 git perl gawk coreutils procps redis-tools libpython3.11-testsuite \
                memcached postgresql-15 stress-ng gdb strace libjemalloc2 libmimalloc2.0 \
                libtcmalloc-minimal4 jq php-cli ruby nodejs clang cppcheck fish zsh tmux chromium
SOAK_PACKAGES = $(TEST_PACKAGES) memtester stressapptest glibc-source
BENCH_PACKAGES = $(BUILD_PACKAGES) g++ libjemalloc2 libmimalloc2.0 python3 python3-numpy xz-utils util-linux redis-tools sqlite3 coreutils gnuplot-nox

deps-build:
	@tests/install.sh make $(BUILD_PACKAGES)
deps-test:
	@tests/install.sh make $(TEST_PACKAGES)
deps-soak:
	@tests/install.sh make $(SOAK_PACKAGES)
deps-bench:
	@tests/install.sh make $(BENCH_PACKAGES)

CHECK = GHOSTMEM_LIB=$(CURDIR)/libghostmem.so GHOSTMEM_INJECT_LIB=$(CURDIR)/build/inject/libghostmem.so \
        GHOSTMEM_TEST_BIN=$(CURDIR)/build/tests ASAN_OPTIONS=detect_leaks=0 tests/check.sh

# The backends that anybody may use, as an ordinary user: GHOSTMEM_TEST_USER is for setpriv(1).
NOBODY = env GHOSTMEM_TEST_USER=--reuid=65534
PRELOAD = build/tests/preload -j2 --verbose
PROBES = $(PRELOAD) --filter preload/probe_ends*
PROGRAMS = build/tests/programs -j2 --verbose
# The server of PostgreSQL will not run as root, who alone may have `thread`; Python's tests are about the guard.
FOR_ROOT = --filter !(python|postgres)/*@(_64|1024)_pages
BRIEFLY = --filter !(python)/*@(_64|1024)_pages
# What takes minutes is left to `make check-all`.
SHORT = --filter python/!(test_io*|test_socket*|test_subprocess*)

UNIT_PLAIN = "unit=build/unit/plain -j2 --verbose"
UNIT = $(UNIT_PLAIN) "unit, ASan and UBSan=build/unit/asan -j2 --verbose"
UNIT_TSAN = "unit, TSan=build/unit/tsan -j2"
QUICKLY = @(settings|report|misuse)/*

# 100,000 random memory calls, as without GhostMem: tests/fuzz/memcalls.h.
MEMORY_CALLS = tests/fuzz/fuzz.py --seed 52 --runs 10 --steps 10000
# The same where protections are ours: some seconds.
MEMORY_CALLS_SHORT = tests/fuzz/fuzz.py --seed 1 --runs 4 --steps 1500

# Three lanes, whose suites run at the same time: while one waits, as Python's own tests do most of the time, the others work.
check: deps-test
	@$(MAKE) --no-print-directory -j2 check-build
	@$(MAKE) --no-print-directory layers
	@tests/lint.sh --quick $(FLAGS_lib)
	@$(CHECK) $(UNIT_TSAN) \
	    "programs, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS) --filter !(python)/*" \
	    "programs, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS) $(BRIEFLY)" \
	    "whole process, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS) --filter process/*" \
	    "programs, thread=env GHOSTMEM_TEST_FAULTS=thread $(PROGRAMS) $(FOR_ROOT)" \
	    "programs, swap file=env GHOSTMEM_TEST_SWAP=/var/tmp $(PROGRAMS) $(FOR_ROOT)" \
	    -- $(UNIT) \
	    "command=build/tests/command -j2 --verbose" \
	    "library=env GHOSTMEM_TEST_LIBRARY=$(CURDIR)/build/library build/tests/library -j2 --verbose" \
	    "preload=env GHOSTMEM_TEST_FAULTS=thread $(PRELOAD)" \
	    "probes, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROBES)" \
	    "probes, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROBES)" \
	    -- "memory calls, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(MEMORY_CALLS)" \
	    "memory calls, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(MEMORY_CALLS_SHORT)" \
	    "python, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS) $(SHORT)" \
	    "stress programs=tests/soak.sh --brief"

# Everything with every backend, and all sizes: an hour and more.
ALL = env GHOSTMEM_TEST_WAYS=all
check-all: deps-test
	@$(MAKE) --no-print-directory -j2 check-build
	@$(CHECK) "programs, thread=env GHOSTMEM_TEST_FAULTS=thread $(PROGRAMS) --filter !(postgres)/*" \
	    "programs, signal, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=signal $(PROGRAMS)" \
	    "programs, segv, as nobody=$(NOBODY) GHOSTMEM_TEST_FAULTS=segv $(PROGRAMS)" \
	    "programs, swap file=$(NOBODY) GHOSTMEM_TEST_SWAP=/var/tmp $(PROGRAMS)" \
	    -- "preload, thread=$(ALL) GHOSTMEM_TEST_FAULTS=thread $(PRELOAD)" \
	    "preload, signal=$(ALL) GHOSTMEM_TEST_FAULTS=signal $(PRELOAD)" \
	    "preload, segv=$(ALL) GHOSTMEM_TEST_FAULTS=segv $(PRELOAD)"

# Other people's stress programs with every backend: a quarter of an hour.
soak: deps-soak
	@$(MAKE) --no-print-directory -j2 libghostmem.so build/tests/blocks build/tests/ballast.so
	@tests/soak/glibc.sh $(CURDIR)/build/tests/glibc
	@GHOSTMEM_LIB=$(CURDIR)/libghostmem.so GHOSTMEM_TEST_BIN=$(CURDIR)/build/tests tests/soak.sh

BUILT_FOR_CHECK = libghostmem.so ghostmem-core ghostmem build/tests/command build/inject/libghostmem.so build/unit/plain build/unit/asan build/unit/tsan \
                  build/tests/preload build/tests/programs build/tests/library build/bench/simulate $(HELPERS) libghostmem.a
check-build: $(BUILT_FOR_CHECK)

# The core's tests alone, without the packages that the others need.
unit: build/unit/plain build/unit/asan build/unit/tsan build/tests/helper_speed
	@$(CHECK) $(UNIT) -- $(UNIT_TSAN)

# Less than a minute, on what is built: the core, and what a change of the library shows first.
quick: libghostmem.so ghostmem-core build/inject/libghostmem.so build/unit/plain $(addprefix build/tests/,preload probe helper_speed)
	@$(MAKE) --no-print-directory layers
	@$(CHECK) $(UNIT_PLAIN) -- "preload, briefly=$(PRELOAD) --filter $(QUICKLY)"

layers:
	@tests/layers.sh
	@tests/docs.sh

lint:
	@tests/lint.sh $(FLAGS_lib)

PREFIX ?= /usr/local
CPP_HEADERS = $(wildcard include/*.hpp include/ghostmem/*.h)
# A page for each function, which is that of its group: doc/ghostmem*.3.
API_PAGES = $(basename $(notdir $(wildcard doc/ghostmem*.3)))
INSTALLED = lib/libghostmem.so bin/ghostmem-core share/man/man1/ghostmem-core.1 share/man/man7/libghostmem.7 \
            share/ghostmem/ghostmem.gdb include/ghostmem.h $(CPP_HEADERS) lib/$(SONAME) lib/libghostmem.a \
            lib/pkgconfig/ghostmem.pc $(API_PAGES:%=share/man/man3/%.3) bin/ghostmem share/man/man1/ghostmem.1 \
            share/bash-completion/completions/ghostmem share/zsh/site-functions/_ghostmem \
            share/fish/vendor_completions.d/ghostmem.fish
install: libghostmem.so libghostmem.a ghostmem-core ghostmem
	install -D -m 755 ghostmem $(DESTDIR)$(PREFIX)/bin/ghostmem
	install -D -m 644 doc/ghostmem.1 $(DESTDIR)$(PREFIX)/share/man/man1/ghostmem.1
	install -D -m 644 doc/completion/ghostmem.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ghostmem
	install -D -m 644 doc/completion/_ghostmem $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ghostmem
	install -D -m 644 doc/completion/ghostmem.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ghostmem.fish
	install -D -m 755 libghostmem.so $(DESTDIR)$(PREFIX)/lib/libghostmem.so
	install -D -m 755 ghostmem-core $(DESTDIR)$(PREFIX)/bin/ghostmem-core
	install -D -m 644 doc/ghostmem-core.1 $(DESTDIR)$(PREFIX)/share/man/man1/ghostmem-core.1
	install -D -m 644 doc/libghostmem.7 $(DESTDIR)$(PREFIX)/share/man/man7/libghostmem.7
	install -D -m 644 doc/ghostmem.gdb $(DESTDIR)$(PREFIX)/share/ghostmem/ghostmem.gdb
	install -D -m 644 interpose/ghostmem.h $(DESTDIR)$(PREFIX)/include/ghostmem.h
	for header in $(CPP_HEADERS); do install -D -m 644 $$header $(DESTDIR)$(PREFIX)/$$header || exit; done
	for page in $(API_PAGES); do install -D -m 644 doc/$$page.3 $(DESTDIR)$(PREFIX)/share/man/man3/$$page.3 || exit; done
	ln -sf libghostmem.so $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	install -D -m 644 libghostmem.a $(DESTDIR)$(PREFIX)/lib/libghostmem.a
	mkdir -p $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' ghostmem.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/ghostmem.pc

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,$(INSTALLED))
	-rmdir $(DESTDIR)$(PREFIX)/share/ghostmem $(DESTDIR)$(PREFIX)/include/ghostmem

demo: deps-build
	@$(MAKE) --no-print-directory libghostmem.so
	@bench/demo.sh

# ---- benchmarks ----

build/bench/workload: bench/workload.c bench/block.c bench/blocks.c bench/random.c bench/calls.c bench/pattern.c bench/draw.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -lpthread -lm

build/bench/small: bench/small.cpp
	@mkdir -p $(@D)
	g++ -std=c++17 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -fno-builtin-malloc -fno-builtin-free -o $@ $< -lpthread

build/bench/floor: bench/floor.c bench/pattern.c $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 $(WARNINGS) -o $@ $(filter %.c,$^) -llz4 -lpthread

# ---- policies of page replacement, by traces ----

build/bench/simulate: $(SIMULATOR) bench/simulate/simulate.c $(wildcard bench/simulate/*.h) bench/pattern.h
	@mkdir -p $(@D)
	$(CC) $(FLAGS_check) -O2 -o $@ $(filter %.c,$^) -lm

simulate: build/bench/simulate
	@build/bench/simulate
	@build/bench/simulate --read-ahead

# What real programs touch: TRACES=DIRECTORY of bench/trace/record.py.
TRACES = build/traces
simulate-programs: build/bench/simulate build/trace/libghostmem.so
	@test -d $(TRACES) || bench/trace/record.py $(TRACES)
	@build/bench/simulate --read-ahead $(TRACES)/*.trace

bench: deps-bench
	@$(MAKE) --no-print-directory libghostmem.so build/bench/workload build/bench/floor build/bench/small
	@bench/run.py

# The curve of doc/measurements.md: measures for some minutes, then draws. bench/plot.py --draw-only draws it again from the same figures.
bench-plot: deps-bench
	@$(MAKE) --no-print-directory libghostmem.so build/bench/workload
	@bench/plot.py

# ---- others ----

# For editors and clang-tidy.
compile_commands.json: Makefile $(SOURCES)
	@for source in $(SOURCES) $(TOOL_SOURCES) $(COMMAND_SOURCES); do \
	    echo '{"directory": "$(CURDIR)", "file": "'$$source'", "command": "$(CC) $(FLAGS_lib) -c '$$source'"},'; \
	done | sed '1s/^/[/; $$s/,$$/]/' >$@

help:
	@echo 'make            the library and its tools'
	@echo 'make demo       what it does, in a minute'
	@echo 'make quick      less than a minute of tests'
	@echo 'make unit       the tests of the core, also with ASan, UBSan and TSan'
	@echo 'make lint       what compilers and checkers say of the source'
	@echo 'make layers     who may include whom, and whether documents and code agree'
	@echo 'make check      every test: some minutes; packages that are missing are named and installed'
	@echo 'make check-all  with every size and backend: an hour and more'
	@echo 'make soak       the stress programs of others: a quarter of an hour'
	@echo 'make bench      the measurements of doc/measurements.md: an hour; bench-plot: its curve; simulate: replacement policies'
	@echo 'make install    below PREFIX, /usr/local; and make uninstall'
	@echo 'make clean      removes what was built; compile_commands.json is for editors'
	@echo 'CC=clang chooses the compiler, CFLAGS=... its optimisation.'

clean:
	rm -rf build libghostmem.so libghostmem.a ghostmem-core ghostmem compile_commands.json

-include $(patsubst %.o,%.d,$(foreach variant,$(VARIANTS),$(call objects,$(variant),$(SOURCES) $(UNIT_SOURCES) tests/unit/unit_main.c \
    $(TOOL_SOURCES) $(COMMAND_SOURCES) $(COMMAND_TESTS) $(PROBE_SOURCES) $(PRELOAD_SOURCES) $(PROGRAM_SOURCES) tests/library/test_library.c bench/trace/record.c)) $(wildcard build/check/tests/*/*.d))

.PHONY: all clean install uninstall check check-all unit quick lint soak check-build layers demo bench bench-plot \
        simulate simulate-programs help deps-build deps-test deps-soak deps-bench FORCE
