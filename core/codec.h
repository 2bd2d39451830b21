/*
 * codec.h - one page in, one image out: LZ4, and pages that are one word again and again.
 *
 * Calls: liblz4.  Locks: none; a codec belongs to one thread at a time.  Memory: the caller's struct, nothing on the
 * stack beyond a few words.
 */
#ifndef GHOSTMEM_CORE_CODEC_H
#define GHOSTMEM_CORE_CODEC_H

#include "core/base.h"

/* An image that does not shrink to 7/8 of a page is kept plain: reading it back then costs a copy only. */
#define CODEC_MAX_IMAGE_BYTES (PAGE_BYTES / 8 * 7)

/* LZ4_sizeofState() of liblz4 1.9 is 16,416; checked by codec_init(). */
#define CODEC_STATE_BYTES 16640

struct codec {
    _Alignas(64) unsigned char state[CODEC_STATE_BYTES];
};

/* Once a codec, before its first use. Returns 0, or -EINVAL when liblz4 wants a bigger state. */
int codec_init(struct codec *codec);

/* Is @page one 64-bit word repeated? If so, *@word is it. @page: PAGE_BYTES, 8-byte aligned. */
bool codec_same_filled(const void *page, uint64_t *word);

/* Fill @page with @word. */
void codec_fill(void *page, uint64_t word);

/*
 * Compress @page into @image of CODEC_MAX_IMAGE_BYTES.
 * Returns the image's length; 0 when it does not fit: store the page plain.
 */
size_t codec_compress(struct codec *codec, const void *page, void *image);

/* Restore PAGE_BYTES into @page. 0; -EBADMSG when @image is not a whole page's image. */
int codec_decompress(const void *image, size_t image_bytes, void *page);

#endif
