/* squeeze.c - see squeeze.h. */
#include "core/squeeze.h"

#include "core/codec.h"

#define LZ4_HC_STATIC_LINKING_ONLY
#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of ours, frames without a magic number; libzstd is linked statically */
#include <errno.h>
#include <lz4hc.h>
#include <stdatomic.h>
#include <string.h>
#include <zstd.h>

/* Where a level would take more memory than a page and a dictionary are worth. Powers of two, of entries. */
#define MAX_TABLE_LOG 14u
#define LEVEL_DEFAULT_ZSTD 1
#define LEVEL_DEFAULT_LZ4 9
#define ALIGNMENT ((size_t)64)

static ZSTD_compressionParameters parameters(int level, size_t dictionary_bytes)
{
    ZSTD_compressionParameters p = ZSTD_getCParams(level, PAGE_BYTES, dictionary_bytes);

    p.hashLog = p.hashLog < MAX_TABLE_LOG ? p.hashLog : MAX_TABLE_LOG;
    p.chainLog = p.chainLog < MAX_TABLE_LOG ? p.chainLog : MAX_TABLE_LOG;
    return p;
}

/* ---- squeezing ---- */

void squeezer_init(struct squeezer *squeezer, enum squeeze_way way, int level)
{
    int usual = way == SQUEEZE_LZ4 ? LEVEL_DEFAULT_LZ4 : LEVEL_DEFAULT_ZSTD;

    *squeezer = (struct squeezer){.way = way, .level = level > 0 ? level : usual};
}

size_t squeezer_bytes(const struct squeezer *squeezer)
{
    if (squeezer->way == SQUEEZE_OFF)
        return 0;
    if (squeezer->way == SQUEEZE_LZ4)
        return round_up((size_t)LZ4_sizeofStateHC(), PAGE_BYTES);
    /* As for a window that holds a dictionary: what is not used is not touched. */
    return round_up(ZSTD_estimateCCtxSize_usingCParams(parameters(squeezer->level, 0)) +
                        ZSTD_estimateCCtxSize_usingCParams(parameters(squeezer->level, (size_t)64 * KIB)), PAGE_BYTES);
}

static bool set(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value));
}

/* The page's length is in the image, which makes libzstd refuse another one; and so is a checksum of the page. */
static bool configure(ZSTD_CCtx *context, int level)
{
    ZSTD_compressionParameters p = parameters(level, 0);

    return set(context, ZSTD_c_format, ZSTD_f_zstd1_magicless) && set(context, ZSTD_c_checksumFlag, 1) &&
           set(context, ZSTD_c_contentSizeFlag, 1) && set(context, ZSTD_c_dictIDFlag, 0) &&
           set(context, ZSTD_c_compressionLevel, level) && set(context, ZSTD_c_hashLog, (int)p.hashLog) &&
           set(context, ZSTD_c_chainLog, (int)p.chainLog);
}

int squeezer_open(struct squeezer *squeezer)
{
    int error = os_mem_map(squeezer_bytes(squeezer), &squeezer->memory);

    if (error != 0)
        return error;
    squeezer->bytes = squeezer_bytes(squeezer);
    if (squeezer->way == SQUEEZE_LZ4) {
        squeezer->context = squeezer->memory;
        return 0;
    }
    squeezer->context = ZSTD_initStaticCCtx(squeezer->memory, squeezer->bytes);
    if (squeezer->context != NULL && configure(squeezer->context, squeezer->level))
        return 0;
    squeezer_close(squeezer);
    return -EINVAL;
}

void squeezer_close(struct squeezer *squeezer)
{
    void *memory = squeezer->memory;

    squeezer->memory = squeezer->context = NULL;
    atomic_signal_fence(memory_order_seq_cst); /* a fork's child closes it too, whenever it was made */
    if (memory != NULL)
        os_mem_unmap(memory, squeezer->bytes);
}

size_t squeeze_put(struct squeezer *squeezer, const struct dictionary *dictionary, const void *page, void *image)
{
    ZSTD_CCtx *context = squeezer->context;
    size_t bytes;

    if (squeezer->way == SQUEEZE_LZ4) {
        int length = LZ4_compress_HC_extStateHC(context, page, image, (int)PAGE_BYTES, (int)CODEC_MAX_IMAGE_BYTES, squeezer->level);

        return length > 0 ? (size_t)length : 0;
    }
    /* A page that did not fit has left the context in the middle of its frame. */
    if (ZSTD_isError(ZSTD_CCtx_reset(context, ZSTD_reset_session_only)) ||
        ZSTD_isError(ZSTD_CCtx_refCDict(context, dictionary != NULL ? dictionary->writing : NULL)))
        return 0;
    bytes = ZSTD_compress2(context, image, CODEC_MAX_IMAGE_BYTES, page, PAGE_BYTES);
    return ZSTD_isError(bytes) ? 0 : bytes;
}

/* ---- reading ---- */

static ZSTD_DCtx *context_of(struct squeeze_reader *reader)
{
    if (reader->context != NULL)
        return reader->context;
    reader->context = ZSTD_initStaticDCtx(reader->state, sizeof reader->state);
    if (reader->context != NULL &&
        ZSTD_isError(ZSTD_DCtx_setParameter(reader->context, ZSTD_d_format, ZSTD_f_zstd1_magicless)))
        reader->context = NULL;
    return reader->context;
}

int squeeze_read(struct squeeze_reader *reader, const struct dictionary *dictionary, const void *image, size_t bytes, void *page)
{
    ZSTD_DCtx *context = context_of(reader);
    size_t length;

    INVARIANT(context != NULL);
    if (dictionary != NULL && dictionary->reading == NULL)
        return -EBADMSG;
    length = dictionary != NULL ? ZSTD_decompress_usingDDict(context, page, PAGE_BYTES, image, bytes, dictionary->reading)
                                : ZSTD_decompressDCtx(context, page, PAGE_BYTES, image, bytes);
    return length == PAGE_BYTES ? 0 : -EBADMSG;
}

/* ---- dictionaries ---- */

int dictionary_make(struct dictionary *dictionary, const void *content, size_t bytes, int level)
{
    ZSTD_compressionParameters p = parameters(level, bytes);
    size_t reading_at = round_up(bytes, ALIGNMENT);
    size_t reading_bytes = ZSTD_estimateDDictSize(bytes, ZSTD_dlm_byRef);
    size_t writing_at = round_up(reading_at + reading_bytes, ALIGNMENT);
    size_t writing_bytes = level > 0 ? ZSTD_estimateCDictSize_advanced(bytes, p, ZSTD_dlm_byRef) : 0;
    size_t mapped_bytes = round_up(writing_at + writing_bytes, PAGE_BYTES);
    unsigned char *memory;
    int error = os_mem_map(mapped_bytes, (void **)&memory);

    if (error != 0)
        return error;
    memcpy(memory, content, bytes);
    *dictionary = (struct dictionary){
        .content = memory,
        .bytes = bytes,
        .mapped_bytes = mapped_bytes,
        .reading = ZSTD_initStaticDDict(memory + reading_at, reading_bytes, memory, bytes, ZSTD_dlm_byRef, ZSTD_dct_auto),
    };
    if (level > 0)
        dictionary->writing = ZSTD_initStaticCDict(memory + writing_at, writing_bytes, memory, bytes, ZSTD_dlm_byRef, ZSTD_dct_auto, p);
    if (dictionary->reading != NULL && (level == 0 || dictionary->writing != NULL))
        return 0;
    dictionary_drop(dictionary);
    return -EINVAL;
}

void dictionary_drop(struct dictionary *dictionary)
{
    const unsigned char *content = dictionary->content;
    size_t mapped_bytes = dictionary->mapped_bytes;

    *dictionary = (struct dictionary){0};
    atomic_signal_fence(memory_order_seq_cst); /* likewise */
    if (content != NULL)
        os_mem_unmap((void *)(uintptr_t)content, mapped_bytes);
}
