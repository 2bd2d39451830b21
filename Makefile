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

clean:
	rm -rf build libghostmem.so

.PHONY: all clean
