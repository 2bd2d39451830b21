/* store.c - see store.h. */
#include "core/store.h"

#include <string.h>

int store_init(struct store *store, size_t space_bytes, uint64_t bound_bytes)
{
    return pool_init(&store->pool, space_bytes, bound_bytes);
}

store_handle store_put(struct store *store, struct store_scratch *scratch, const void *page)
{
    size_t bytes = store->plain ? 0 : codec_compress(&scratch->codec, page, scratch->image);

    if (bytes == 0)
        return pool_put(&store->pool, page, PAGE_BYTES);
    return pool_put(&store->pool, scratch->image, bytes);
}

int store_decode(const void *image, size_t bytes, void *page)
{
    if (bytes != PAGE_BYTES)
        return codec_decompress(image, bytes, page);
    memcpy(page, image, PAGE_BYTES);
    return 0;
}

int store_get(struct store *store, store_handle handle, void *page)
{
    size_t bytes;
    const void *image = pool_image(&store->pool, handle, &bytes);

    return store_decode(image, bytes, page);
}

void store_free(struct store *store, store_handle handle)
{
    pool_free(&store->pool, handle);
}
