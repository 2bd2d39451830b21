/* probe_plugin.c - objects that are loaded while the program runs. PROBE_PLUGIN: helper_plugin.c's path, or its name alone. */
#include "tests/preload/probe.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void *resize_function(void *p, size_t bytes);
typedef void free_function(void *p);
typedef size_t usable_function(void *p);

/* Source: dlsym(3), NOTES: an object pointer becomes a function pointer by its bits. */
static void look_up(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);

    CHECK(symbol != NULL);
    memcpy(function, &symbol, sizeof symbol);
}

/* Bound at once, and at its first call. */
static void plugin_with_its_own_scope(size_t bytes)
{
    static const int modes[] = {RTLD_LAZY, RTLD_NOW};

    for (unsigned i = 0; i < 2; i++) {
        void *handle = dlopen(getenv("PROBE_PLUGIN"), modes[i] | RTLD_LOCAL | RTLD_DEEPBIND);
        resize_function *resize;
        usable_function *usable;
        free_function *release;
        char *p;

        CHECK(handle != NULL);
        look_up(handle, "plugin_resize", &resize);
        look_up(handle, "plugin_free", &release);
        look_up(handle, "plugin_usable", &usable);
        p = filled(bytes, 1);
        push_out(bytes);
        CHECK(usable(p) >= bytes);
        p = resize(p, 2 * bytes);
        CHECK(p != NULL);
        check(p, bytes, 1);
        release(p);
        p = resize(NULL, 100);
        CHECK(p != NULL);
        free(p);
        free(filled(bytes, 2));
        CHECK(dlclose(handle) == 0);
    }
}

const struct probe probes_plugin[] = {
    {"plugin_with_its_own_scope", plugin_with_its_own_scope},
    {NULL, NULL},
};
