/* helper_plugin.c - a plug-in that takes over blocks of its host: resizes them and frees them. */
#include <malloc.h>
#include <stdlib.h>

void *plugin_resize(void *p, size_t bytes);
void plugin_free(void *p);
size_t plugin_usable(void *p);

void *plugin_resize(void *p, size_t bytes)
{
    return realloc(p, bytes);
}

void plugin_free(void *p)
{
    free(p);
}

size_t plugin_usable(void *p)
{
    return malloc_usable_size(p);
}
