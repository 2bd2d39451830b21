/* store.c - see store.h. */
#include "core/store.h"

#include <errno.h>
#include <string.h>

int store_init(struct store *store, size_t space_bytes, uint64_t bound_bytes)
{
    return pool_init(&store->pool, space_bytes, bound_bytes);
}

store_handle store_put(struct store *store, struct store_scratch *scratch, const void *page)
{
    size_t bytes = store->plain ? 0 : codec_compress(&scratch->codec, page, scratch->image);

    if (bytes == 0)
        return pool_put(&store->pool, page, PAGE_BYTES, IMAGE_FAST);
    return pool_put(&store->pool, scratch->image, bytes, IMAGE_FAST);
}

int store_decode(const struct dictionary *dictionaries, struct squeeze_reader *reader, const struct pool_image *image, void *page)
{
    if (image->bytes == PAGE_BYTES) {
        memcpy(page, image->data, PAGE_BYTES);
        return 0;
    }
    if (!image_is_slow(image->kind))
        return codec_decompress(image->data, image->bytes, page);
    if (image->kind >= POOL_KINDS)
        return -EBADMSG;
    return squeeze_read(reader, image->kind >= IMAGE_TAUGHT ? &dictionaries[image->kind - IMAGE_TAUGHT] : NULL, image->data, image->bytes,
                        page);
}

int store_get(const struct store *store, struct squeeze_reader *reader, store_handle handle, void *page)
{
    struct pool_image image = pool_image(&store->pool, handle);

    return store_decode(store->dictionaries, reader, &image, page);
}

void store_free(struct store *store, store_handle handle)
{
    pool_free(&store->pool, handle);
}
