# GhostMem. The two commands of the README: make demo, make check. Everything is built below build/.

CC ?= gcc
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef \
           -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
             -fno-stack-protector -DNDEBUG $(CFLAGS)
LINK = -shared -Wl,--version-script=ghostmem.map -Wl,-z,defs,-z,relro,-z,now,-z,nodelete \
       -Wl,--exclude-libs,ALL -l:liblz4.a -lpthread -ldl

PLATFORM = $(wildcard platform/*.c)
CORE = $(wildcard core/*.c)
INTERPOSE = $(wildcard interpose/*.c)
SOURCES = $(PLATFORM) $(CORE) $(INTERPOSE)
OBJECTS = $(SOURCES:%.c=build/lib/%.o)

all: libghostmem.so

libghostmem.so: $(OBJECTS) ghostmem.map
	$(CC) $(CFLAGS) -o $@ $(OBJECTS) $(LINK)

build/lib/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

# ---- unit tests: core modules with a fake fault backend ----

UNIT_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) -g -O1
UNIT_SOURCES = $(PLATFORM) $(CORE) tests/unit/fake.c $(wildcard tests/unit/test_*.c)
UNIT_DEPS = $(UNIT_SOURCES) $(wildcard platform/*.h core/*.h tests/unit/*.h)
UNIT_LIBS = -l:liblz4.a -lpthread

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

clean:
	rm -rf build libghostmem.so

.PHONY: all clean
