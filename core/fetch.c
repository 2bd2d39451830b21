/* fetch.c - see fetch.h. */
#include "core/fetch.h"

#include "core/log.h"
#include "platform/swapfile.h"

#include <errno.h>

/* Dead images between two that are wanted are read along up to this size: less than the cost of another read. */
#define MAX_GAP_BYTES (4 * KIB)

static uint64_t end_of(const struct fetch *image)
{
    return image->where.offset + image->n_units * SWAP_UNIT_BYTES;
}

/* Images from @images[0] on that one read brings: their number, those without a box between them included. */
static size_t group_length(const struct fetch *images, size_t n, size_t *bytes)
{
    size_t length = 1;
    uint64_t end = end_of(&images[0]);

    for (size_t i = 1; i < n; i++) {
        const struct fetch *next = &images[i];

        if (next->n_units == 0)
            continue;
        if (next->where.sequence != images[0].where.sequence || next->where.fd != images[0].where.fd ||
            next->where.offset < end || next->where.offset > end + MAX_GAP_BYTES ||
            end_of(next) - images[0].where.offset > FETCH_BUFFER_BYTES - 2 * OS_SWAPFILE_ALIGN)
            break;
        end = end_of(next);
        length = i + 1;
    }
    *bytes = (size_t)(end - images[0].where.offset);
    return length;
}

static int open_box(const struct store *store, struct squeeze_reader *reader, const struct fetch *image, unsigned char *box,
                    unsigned char *page)
{
    struct pool_image opened = {.data = box + SEAL_HEADER_BYTES};
    int error = seal_open(image->where.seal, image->where.sequence, image->where.unit, box,
                          image->n_units * SWAP_UNIT_BYTES, &opened.bytes, &opened.kind);

    return error != 0 ? error : store_decode(store->dictionaries, reader, &opened, page);
}

size_t fetch_images(struct swap *swap, const struct store *store, struct squeeze_reader *reader, const struct fetch *images, size_t n,
                    unsigned char *buffer, unsigned char (*pages)[PAGE_BYTES], int *error)
{
    size_t i = 0;

    *error = 0;
    while (i < n) {
        void *data = buffer;
        size_t bytes;
        size_t length;

        if (images[i].n_units == 0) {
            i++;
            continue;
        }
        length = group_length(&images[i], n - i, &bytes);
        *error = length > 1 ? swap_read(swap, &images[i].where, buffer, bytes) : -EAGAIN;
        if (*error != 0) { /* it is only one, or the fault may lie in a neighbour */
            length = 1;
            *error = swap_read_one(swap, &images[i].where, buffer, images[i].n_units * SWAP_UNIT_BYTES, &data);
        }
        if (*error != 0)
            return i;
        for (size_t end = i + length, first = i; i < end; i++) {
            if (images[i].n_units > 0)
                *error = open_box(store, reader, &images[i], (unsigned char *)data + (images[i].where.offset - images[first].where.offset),
                                  pages[i]);
            if (*error != 0) {
                __atomic_add_fetch(&swap->read_errors, 1, __ATOMIC_RELAXED);
                return i;
            }
        }
    }
    return n;
}

void fetch_complain(const struct swap *swap, const struct fetch *image, const void *page, int error)
{
    if (error == -EBADMSG)
        log_line(LOG_ERROR, "swap file %s: the image at offset %l is damaged: the page %p is lost, its reader gets SIGBUS",
                 swap->path, image->where.offset, page);
    else
        log_line(LOG_ERROR, "swap file %s: cannot read %z bytes at offset %l: %e: the page %p is lost, its reader gets "
                 "SIGBUS", swap->path, image->n_units * SWAP_UNIT_BYTES, image->where.offset,
                 error == -ENODATA ? EIO : -error, page);
}
