/*
 * fetch.h - images back from the swap file, neighbours with one read.
 *
 * Calls: swap, store, log, os.  Locks: none: the caller holds the pages in transit.  Memory: the caller's buffer.
 */
#ifndef GHOSTMEM_CORE_FETCH_H
#define GHOSTMEM_CORE_FETCH_H

#include "core/store.h"
#include "core/swap.h"

/* One read takes at the most what a window of read-ahead needs if its images are plain and stand side by side. */
#define FETCH_BUFFER_BYTES (160 * KIB)

/* The image of one page of a run. */
struct fetch {
    struct swap_where where;
    uint32_t n_units; /* 0: the page has none, and is skipped */
};

/*
 * Restore pages of a run from their images.
 * @store:  has the dictionaries
 * @buffer: FETCH_BUFFER_BYTES, page-aligned, for boxes as they are read
 * Returns how many of the @n are done; less than @n: *@error says why the next one is not (-EIO, -ENODATA, -EBADMSG ...),
 * and it was the first that was tried if the result is 0.
 * Context: fault path.
 */
size_t fetch_images(struct swap *swap, const struct store *store, struct squeeze_reader *reader, const struct fetch *images, size_t n,
                    unsigned char *buffer, unsigned char (*pages)[PAGE_BYTES], int *error);

/* The one line about a page that is lost. */
void fetch_complain(const struct swap *swap, const struct fetch *image, const void *page, int error);

#endif
