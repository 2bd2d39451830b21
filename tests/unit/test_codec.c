/* test_codec.c - one page, one image. */
#include "core/codec.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct codec codec;
static _Alignas(4096) unsigned char page[PAGE_BYTES];
static _Alignas(4096) unsigned char back[PAGE_BYTES];
static unsigned char image[CODEC_MAX_IMAGE_BYTES];

static void fill_random(uint64_t seed)
{
    for (size_t i = 0; i < PAGE_BYTES; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        page[i] = (unsigned char)seed;
    }
}

Test(codec, text_page_round_trips_smaller)
{
    size_t length;

    cr_assert_eq(codec_init(&codec), 0);
    for (size_t i = 0; i < PAGE_BYTES; i++)
        page[i] = (unsigned char)((size_t)"the quick brown fox "[i % 20] ^ (i / 512 % 3));
    length = codec_compress(&codec, page, image);
    cr_assert(length > 0 && length < PAGE_BYTES / 2);
    cr_assert_eq(codec_decompress(image, length, back), 0);
    cr_assert_eq(memcmp(page, back, PAGE_BYTES), 0);
}

Test(codec, incompressible_page_is_refused)
{
    cr_assert_eq(codec_init(&codec), 0);
    fill_random(7);
    cr_assert_eq(codec_compress(&codec, page, image), 0);
}

Test(codec, state_does_not_carry_over_from_page_to_page)
{
    cr_assert_eq(codec_init(&codec), 0);
    for (unsigned round = 0; round < 100; round++) {
        size_t length;

        fill_random(round + 1);
        memset(page + round * 8, (int)round, PAGE_BYTES - 2000 - round * 8);
        length = codec_compress(&codec, page, image);
        cr_assert_gt(length, 0);
        memset(back, 0xee, PAGE_BYTES);
        cr_assert_eq(codec_decompress(image, length, back), 0);
        cr_assert_eq(memcmp(page, back, PAGE_BYTES), 0);
    }
}

Test(codec, truncated_image_is_an_error_and_not_a_page)
{
    size_t length;

    cr_assert_eq(codec_init(&codec), 0);
    memset(page, 'a', PAGE_BYTES);
    memcpy(page, "something", 9);
    length = codec_compress(&codec, page, image);
    cr_assert_eq(codec_decompress(image, length - 1, back), -EBADMSG);
    cr_assert_eq(codec_decompress(image, 0, back), -EBADMSG);
}

Test(codec, same_filled_page_is_its_word)
{
    uint64_t word = 0;

    codec_fill(page, 0x0123456789abcdef);
    cr_assert(codec_same_filled(page, &word));
    cr_assert_eq(word, 0x0123456789abcdef);
    codec_fill(page, 0);
    cr_assert(codec_same_filled(page, &word));
    cr_assert_eq(word, 0);
}

Test(codec, one_odd_byte_anywhere_is_not_same_filled)
{
    uint64_t word;

    for (size_t i = 0; i < PAGE_BYTES; i += 7) {
        codec_fill(page, 0x5555555555555555);
        page[i] ^= 1;
        cr_assert(!codec_same_filled(page, &word), "byte %zu", i);
    }
}
