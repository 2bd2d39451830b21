/*
 * writeback_round.h - what writing and cleaning share: one segment at a time, by one thread at a time.
 *
 * Calls, locks, memory: as writeback.h, which this is a part of. Nothing here is called with the lock held, but for
 * what ends in _locked.
 */
#ifndef GHOSTMEM_CORE_WRITEBACK_ROUND_H
#define GHOSTMEM_CORE_WRITEBACK_ROUND_H

#include "core/writeback.h"

/* Images copied with the lock held once: about 10 us. */
#define GATHER_CHUNK 32

/* An image on its way into the segment. */
struct record {
    page_number number;
    uint16_t unit;
    uint16_t n_units;
    uint16_t image_bytes;
    uint16_t kind; /* of struct pool_image */
    swap_handle from; /* cleaning: where the image lies; 0 otherwise */
};

struct writeback_buffer {
    unsigned char segment[SWAP_SEGMENT_BYTES];
    unsigned char source[SWAP_SEGMENT_BYTES]; /* cleaning: a victim as it was read */
    struct record records[SWAP_SEGMENT_UNITS];
    size_t n_records;
    uint32_t n_units;
};

/* What came of a round. */
enum result {
    NOTHING, /* to do */
    DONE,
    FAILED,
    BUSY, /* somebody else is at it, or a fork waits */
};

/* Become the one writer (DONE), or say why not; then the round must be ended. */
enum result writeback_round_begin(struct writeback *wb);
void writeback_round_end(struct writeback *wb);

/* An open segment, and where it goes; the buffer is empty. 0 after a failure, which has been noted. */
uint32_t writeback_open_segment(struct writeback *wb, struct swap_where *where);

/* Seal what has been gathered and write it. 0 or -errno. */
int writeback_write_segment(struct writeback *wb, const struct swap_where *where);

/* One line, sparsely, and no round before a while has passed. */
void writeback_note_failure(struct writeback *wb, const char *what, int error);


/* Copy what lives in the emptiest segments into one new segment. */
enum result writeback_clean_round(struct writeback *wb);

#endif
