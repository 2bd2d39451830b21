/* linked.c - see linked.h. */
#include "interpose/linked.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

/* What the Makefile gives the library as its name, and what it is called before its version. */
#define OUR_NAME "libghostmem.so"

/* Source: elf(5). The vDSO needs nothing, so its table, whose addresses are not made absolute, is not looked into. */
static bool needs_us(const struct link_map *map)
{
    const char *strings = NULL;

    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_STRTAB)
            memcpy(&strings, &entry->d_un.d_ptr, sizeof strings);
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_NEEDED && strstr(strings + entry->d_un.d_val, OUR_NAME) != NULL)
            return true;
    return false;
}

static bool is_preloaded(char *const *environment)
{
    static const char variable[] = "LD_PRELOAD=";

    for (; *environment != NULL; environment++)
        if (strncmp(*environment, variable, sizeof variable - 1) == 0 && strstr(*environment, OUR_NAME) != NULL)
            return true;
    return false;
}

bool linked_only(char *const *environment)
{
#ifdef GHOSTMEM_STATIC
    (void)needs_us;
    (void)is_preloaded;
    (void)environment;
    return true;
#else
    for (const struct link_map *map = _r_debug.r_map; map != NULL; map = map->l_next)
        if (needs_us(map))
            return !is_preloaded(environment);
    return false;
#endif
}
