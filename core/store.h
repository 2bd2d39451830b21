/*
 * store.h - compressed images of frozen pages.
 *
 * store_put() compresses one page and returns a handle; store_get() restores it. Addresses and page states belong to the
 * pager. Same-filled pages have no image: the pager keeps their word. An image may be squeezed later: its page is the same then.
 *
 * Calls: codec, squeeze, pool.  Locks: none of its own; pool.lock below it.
 * Memory: the pool's.
 */
#ifndef GHOSTMEM_CORE_STORE_H
#define GHOSTMEM_CORE_STORE_H

#include "core/codec.h"
#include "core/squeeze.h"

typedef pool_handle store_handle; /* 0: no image */

struct store {
    struct pool pool;
    bool plain; /* pages are stored as they are: set before the first store_put() */
    /* Each is made before the first image of its kind, and dropped after the last one: read without a lock by who has an image. */
    struct dictionary dictionaries[SQUEEZE_DICTIONARIES];
};

/* What one thread needs to freeze pages, and to thaw them. */
struct store_scratch {
    struct codec codec;
    struct squeeze_reader reader;
    unsigned char image[PAGE_BYTES];
};

int store_init(struct store *store, size_t space_bytes, uint64_t bound_bytes);

/*
 * Freeze one page. @page: PAGE_BYTES, 8-byte aligned, unchanging during the call.
 * Returns a handle, or 0: no memory for the image (the bound, or the system).
 * Context: fault path; takes pool.lock.
 */
store_handle store_put(struct store *store, struct store_scratch *scratch, const void *page);

/*
 * Restore one frozen page.
 * @handle: live, from store_put(); stays live, the caller frees it
 * @page:   PAGE_BYTES writable; undefined on error
 * Returns 0; -EBADMSG: the image does not make a page.
 * Context: fault path; the caller holds the page in transit; takes no lock.
 * Source: LZ4_decompress_safe()'s contract, lz4.h.
 */
int store_get(const struct store *store, struct squeeze_reader *reader, store_handle handle, void *page);

/* The page that an image makes, wherever that lies. 0 or -EBADMSG. Takes no lock. */
int store_decode(const struct dictionary *dictionaries, struct squeeze_reader *reader, const struct pool_image *image, void *page);

/* Is the page read back at the price of libzstd? Takes no lock. */
static inline bool store_is_slow(const struct store *store, store_handle handle)
{
    return image_is_slow(pool_image(&store->pool, handle).kind);
}

void store_free(struct store *store, store_handle handle);

#endif
