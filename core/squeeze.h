/*
 * squeeze.h - images squeezed harder: libzstd, with a dictionary of the process's own pages, or LZ4 that looks longer.
 *
 * Squeezing is the work of one thread of ours. Reading such an image back belongs to every thread that serves a fault: it has a context
 * of its own in memory that is there, and neither allocates nor needs much stack. A squeezed image carries a checksum of its page.
 *
 * Calls: libzstd, liblz4, os (mem).  Locks: none: a squeezer and a reader belong to one thread at a time; a dictionary that images were
 * made with does not change.  Memory: its own mappings, but for readers.
 */
#ifndef GHOSTMEM_CORE_SQUEEZE_H
#define GHOSTMEM_CORE_SQUEEZE_H

#include "core/pool.h"

/* Kinds of images: see struct pool_image. */
#define IMAGE_FAST 0u  /* LZ4, or a plain page */
#define IMAGE_DENSE 1u /* LZ4 that has looked longer: read like IMAGE_FAST */
#define IMAGE_BARE 2u  /* libzstd without a dictionary */
#define IMAGE_TAUGHT 3u /* with dictionary 0, and so on */
#define SQUEEZE_DICTIONARIES (POOL_KINDS - IMAGE_TAUGHT)

/* Is it read back at the price of libzstd? */
static inline bool image_is_slow(unsigned kind)
{
    return kind >= IMAGE_BARE;
}

/* ZSTD_estimateDCtxSize() of libzstd 1.5.4 is 95,992; checked by squeeze_read(). Touched as far as it is used. */
#define SQUEEZE_READER_BYTES 98304

struct squeeze_reader {
    _Alignas(64) unsigned char state[SQUEEZE_READER_BYTES];
    void *context; /* in it; NULL before the first use: zeroed memory is a reader */
};

/* What images of the kind IMAGE_TAUGHT + its number need. Where a core file is read, `content` and `bytes` are all that is known. */
struct dictionary {
    const unsigned char *content; /* NULL: there is none. The start of its mapping */
    size_t bytes;
    size_t mapped_bytes;
    const void *reading; /* for libzstd: in the same mapping */
    const void *writing;
};

enum squeeze_way {
    SQUEEZE_OFF,
    SQUEEZE_LZ4,
    SQUEEZE_ZSTD,
};

#define SQUEEZE_LEVELS_ZSTD 19
#define SQUEEZE_LEVELS_LZ4 12

struct squeezer {
    enum squeeze_way way;
    int level;
    void *memory; /* NULL before squeezer_open() */
    size_t bytes;
    void *context; /* in it */
};

/* @level: from 1 on; 0: the default of the way. */
void squeezer_init(struct squeezer *squeezer, enum squeeze_way way, int level);

/* Before the first squeeze_put(). 0, -ENOMEM, or -EINVAL: the library does not take these settings. */
int squeezer_open(struct squeezer *squeezer);
void squeezer_close(struct squeezer *squeezer);

/* RAM that it may hold at the most. */
size_t squeezer_bytes(const struct squeezer *squeezer);

/*
 * Squeeze @page into @image of CODEC_MAX_IMAGE_BYTES. @dictionary: NULL for none.
 * Returns the image's length; 0 when it does not fit. Context: not the fault path: it needs some KiB of stack.
 */
size_t squeeze_put(struct squeezer *squeezer, const struct dictionary *dictionary, const void *page, void *image);

/*
 * Restore PAGE_BYTES into @page from an image of libzstd. 0; -EBADMSG when @image is damaged or not of this dictionary.
 * Context: fault path.
 */
int squeeze_read(struct squeeze_reader *reader, const struct dictionary *dictionary, const void *image, size_t bytes, void *page);

/*
 * A dictionary of @bytes at @content, which is copied. @level: of squeezer_init(); 0: only for reading. 0, -ENOMEM, or -EINVAL: it is
 * none.
 */
int dictionary_make(struct dictionary *dictionary, const void *content, size_t bytes, int level);

/* No image needs it any more. */
void dictionary_drop(struct dictionary *dictionary);

#endif
