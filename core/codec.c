/* codec.c - see codec.h. */
#include "core/codec.h"

#define LZ4_STATIC_LINKING_ONLY /* for the fast-reset entry point; liblz4 is linked statically */
#include <errno.h>
#include <lz4.h>
#include <string.h>

/* lz4.h: 1 is the default; larger trades ratio for speed. */
#define ACCELERATION 1

int codec_init(struct codec *codec)
{
    if ((size_t)LZ4_sizeofState() > sizeof codec->state)
        return -EINVAL;
    return LZ4_initStream(codec->state, sizeof codec->state) != NULL ? 0 : -EINVAL;
}

bool codec_same_filled(const void *page, uint64_t *word)
{
    const uint64_t *words = page;
    uint64_t first = words[0];

    /* The last word first: most pages that differ at all differ between their ends. */
    if (words[PAGE_BYTES / sizeof first - 1] != first)
        return false;
    for (size_t i = 1; i < PAGE_BYTES / sizeof first; i++)
        if (words[i] != first)
            return false;
    *word = first;
    return true;
}

void codec_fill(void *page, uint64_t word)
{
    uint64_t *words = page;

    for (size_t i = 0; i < PAGE_BYTES / sizeof word; i++)
        words[i] = word;
}

size_t codec_compress(struct codec *codec, const void *page, void *image)
{
    int length = LZ4_compress_fast_extState_fastReset(codec->state, page, image, (int)PAGE_BYTES,
                                                      (int)CODEC_MAX_IMAGE_BYTES, ACCELERATION);

    return length > 0 ? (size_t)length : 0;
}

int codec_decompress(const void *image, size_t image_bytes, void *page)
{
    int length = LZ4_decompress_safe(image, page, (int)image_bytes, (int)PAGE_BYTES);

    return length == (int)PAGE_BYTES ? 0 : -EBADMSG;
}
