/* test_squeeze.c - images squeezed harder, and dictionaries. */
#include "core/codec.h"
#include "core/squeeze.h"
#include "core/teach.h"
#include "platform/stack.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#define N_PAGES 256u

static _Alignas(4096) unsigned char pages[N_PAGES][PAGE_BYTES];
static _Alignas(4096) unsigned char back[PAGE_BYTES];
static unsigned char image[CODEC_MAX_IMAGE_BYTES];
static unsigned char content[32 * KIB];
static struct squeeze_reader reader;
static struct squeezer squeezer;

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 11;
}

/* Records as a program has them: fields with names, small numbers, pointers. */
static void fill_records(void)
{
    static const char *const names[] = {"identifier=", "address=", "Content-Type: text/html", "modified=", "owner=root;", "next->"};
    uint64_t seed = 4711;

    for (unsigned i = 0; i < N_PAGES; i++)
        for (size_t at = 0; at + 40 <= PAGE_BYTES; at += 40) {
            uint64_t pointer = 0x7f1234500000u + draw(&seed) % 4096 * 16;

            strncpy((char *)pages[i] + at, names[draw(&seed) % 6], 28);
            memcpy(pages[i] + at + 28, &pointer, sizeof pointer);
        }
}

static size_t train(struct dictionary *dictionary)
{
    void *memory;
    size_t bytes;

    fill_records();
    cr_assert_eq(os_mem_map(round_up(TEACH_MEMORY_BYTES(N_PAGES), PAGE_BYTES), &memory), 0);
    bytes = teach(content, sizeof content, pages, N_PAGES, 1, memory, TEACH_MEMORY_BYTES(N_PAGES));
    cr_assert_gt(bytes, 0);
    cr_assert_eq(dictionary_make(dictionary, content, bytes, 1), 0);
    return bytes;
}

static void open_squeezer(enum squeeze_way way, int level)
{
    squeezer_init(&squeezer, way, level);
    cr_assert_eq(squeezer_open(&squeezer), 0);
}

static size_t round_trip(const struct dictionary *dictionary, unsigned i)
{
    size_t bytes = squeeze_put(&squeezer, dictionary, pages[i], image);

    cr_assert_gt(bytes, 0);
    memset(back, 0xee, sizeof back);
    cr_assert_eq(squeeze_read(&reader, dictionary, image, bytes, back), 0);
    cr_assert_eq(memcmp(back, pages[i], PAGE_BYTES), 0);
    return bytes;
}

Test(squeeze, pages_round_trip_at_every_level)
{
    fill_records();
    for (int level = 1; level <= SQUEEZE_LEVELS_ZSTD; level++) {
        open_squeezer(SQUEEZE_ZSTD, level);
        for (unsigned i = 0; i < 8; i++)
            cr_assert_lt(round_trip(NULL, i), PAGE_BYTES / 2);
        squeezer_close(&squeezer);
    }
    for (int level = 1; level <= SQUEEZE_LEVELS_LZ4; level++) {
        open_squeezer(SQUEEZE_LZ4, level);
        cr_assert_eq(codec_decompress(image, squeeze_put(&squeezer, NULL, pages[1], image), back), 0);
        cr_assert_eq(memcmp(back, pages[1], PAGE_BYTES), 0);
        squeezer_close(&squeezer);
    }
}

Test(squeeze, dictionary_of_the_pages_makes_smaller_images)
{
    struct dictionary dictionary;
    size_t bare = 0;
    size_t taught = 0;

    train(&dictionary);
    for (int level = 1; level <= SQUEEZE_LEVELS_ZSTD; level += 9) {
        dictionary_drop(&dictionary);
        train(&dictionary);
        open_squeezer(SQUEEZE_ZSTD, level);
        for (unsigned i = 0; i < N_PAGES; i++) {
            bare += round_trip(NULL, i);
            taught += round_trip(&dictionary, i);
        }
        squeezer_close(&squeezer);
    }
    cr_assert_lt(taught, bare, "%zu, %zu", taught, bare);
    dictionary_drop(&dictionary);
}

Test(squeeze, page_that_does_not_shrink_is_refused_and_the_next_one_is_not)
{
    uint64_t seed = 7;

    fill_records();
    for (size_t i = 0; i < PAGE_BYTES; i++)
        pages[0][i] = (unsigned char)draw(&seed);
    open_squeezer(SQUEEZE_ZSTD, 0);
    cr_assert_eq(squeeze_put(&squeezer, NULL, pages[0], image), 0);
    (void)round_trip(NULL, 1);
    squeezer_close(&squeezer);
    open_squeezer(SQUEEZE_LZ4, 0);
    cr_assert_eq(squeeze_put(&squeezer, NULL, pages[0], image), 0);
}

static void damage(const struct dictionary *dictionary)
{
    size_t bytes = round_trip(dictionary, 3);

    for (size_t bit = 0; bit < bytes * 8; bit++) {
        image[bit / 8] ^= (unsigned char)(1 << bit % 8);
        cr_assert(squeeze_read(&reader, dictionary, image, bytes, back) == -EBADMSG || memcmp(back, pages[3], PAGE_BYTES) == 0, "bit %zu",
                  bit);
        image[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t length = 0; length < bytes; length++)
        cr_assert_eq(squeeze_read(&reader, dictionary, image, length, back), -EBADMSG, "%zu bytes", length);
    cr_assert_eq(squeeze_read(&reader, dictionary, image, bytes, back), 0);
}

Test(squeeze, damaged_image_is_never_taken_for_a_page)
{
    struct dictionary dictionary;

    train(&dictionary);
    open_squeezer(SQUEEZE_ZSTD, 0);
    damage(NULL);
    damage(&dictionary);
}

Test(squeeze, image_of_another_dictionary_is_never_taken_for_a_page)
{
    struct dictionary dictionary;
    struct dictionary other;
    struct dictionary none = {0};
    size_t length = train(&dictionary);
    size_t bytes;

    for (size_t i = length / 2; i < length; i++)
        content[i] ^= 0x55;
    cr_assert_eq(dictionary_make(&other, content, length, 0), 0);
    open_squeezer(SQUEEZE_ZSTD, 0);
    bytes = round_trip(&dictionary, 5);
    cr_assert(squeeze_read(&reader, &other, image, bytes, back) == -EBADMSG || memcmp(back, pages[5], PAGE_BYTES) == 0);
    cr_assert(squeeze_read(&reader, NULL, image, bytes, back) == -EBADMSG || memcmp(back, pages[5], PAGE_BYTES) == 0);
    cr_assert_eq(squeeze_read(&reader, &none, image, bytes, back), -EBADMSG);
}

Test(squeeze, training_fails_and_does_no_more_where_memory_does_not_suffice)
{
    static const size_t parts[] = {0, 64, 4096, 64 * KIB, 512 * KIB};
    void *memory;

    fill_records();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        cr_assert_eq(os_mem_map(MIB, &memory), 0);
        cr_assert_eq(teach(content, sizeof content, pages, N_PAGES, 1, memory, parts[i]), 0, "%zu bytes", parts[i]);
        os_mem_unmap(memory, MIB);
    }
}

Test(squeeze, pages_without_anything_in_common_give_no_dictionary_or_a_useless_one)
{
    uint64_t seed = 99;
    void *memory;
    size_t bytes;

    for (size_t i = 0; i < sizeof pages; i++)
        pages[i / PAGE_BYTES][i % PAGE_BYTES] = (unsigned char)draw(&seed);
    cr_assert_eq(os_mem_map(4 * MIB, &memory), 0);
    bytes = teach(content, sizeof content, pages, N_PAGES, 1, memory, 4 * MIB);
    cr_assert_leq(bytes, sizeof content);
    os_mem_unmap(memory, 4 * MIB);
    memset(pages, 0, sizeof pages);
    cr_assert_eq(os_mem_map(4 * MIB, &memory), 0);
    cr_assert_leq(teach(content, sizeof content, pages, 1, 1, memory, 4 * MIB), sizeof content);
}

Test(squeeze, content_that_is_no_dictionary_is_one_of_plain_bytes)
{
    struct dictionary dictionary;

    fill_records();
    memcpy(content, pages, sizeof content);
    cr_assert_eq(dictionary_make(&dictionary, content, sizeof content, 1), 0);
    open_squeezer(SQUEEZE_ZSTD, 0);
    cr_assert_gt(round_trip(&dictionary, N_PAGES - 1), 0);
}

/* ---- stacks ---- */

#define STACK_BYTES (64 * KIB)
#define PAINT 0x5a

static _Alignas(4096) unsigned char stack[STACK_BYTES];
static size_t image_bytes;

static void read_it(void *arg)
{
    *(int *)arg = squeeze_read(&reader, NULL, image, image_bytes, back);
}

static void teach_it(void *arg)
{
    void *memory = *(void **)arg;

    image_bytes = teach(content, sizeof content, pages, N_PAGES, 1, memory, TEACH_MEMORY_BYTES(N_PAGES));
}

static size_t stack_used(void (*run)(void *), void *arg)
{
    size_t untouched = 0;

    memset(stack, PAINT, sizeof stack);
    os_call_on_stack(run, arg, (uintptr_t)stack + sizeof stack);
    while (untouched < sizeof stack && stack[untouched] == PAINT)
        untouched++;
    return sizeof stack - untouched;
}

/* The fault path has a signal's alternate stack, training a thread of ours. */
Test(squeeze, reading_needs_little_stack_and_training_what_a_thread_of_ours_has)
{
    void *memory;
    int result = -1;
    size_t used;

    fill_records();
    open_squeezer(SQUEEZE_ZSTD, 0);
    image_bytes = round_trip(NULL, 0);
    reader.context = NULL;
    used = stack_used(read_it, &result);
    cr_assert_eq(result, 0);
#ifndef __SANITIZE_ADDRESS__
    cr_assert_lt(used, 4096, "%zu bytes", used);
#endif
    cr_assert_eq(os_mem_map(round_up(TEACH_MEMORY_BYTES(N_PAGES), PAGE_BYTES), &memory), 0);
    used = stack_used(teach_it, &memory);
    cr_assert_gt(image_bytes, 0);
    cr_assert_lt(used, STACK_BYTES / 2, "%zu bytes", used);
}
