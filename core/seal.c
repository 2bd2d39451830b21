/* seal.c - see seal.h. */
#include "core/seal.h"

#include "platform/swapfile.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <sodium.h>
#include <string.h>

struct header {
    unsigned char tag[16];
    uint16_t image_bytes;
    uint16_t kind;
    uint16_t zero[2];
};
_Static_assert(sizeof(struct header) == SEAL_HEADER_BYTES, "the header as seal.h has it");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == 16, "a Poly1305 tag fits");
_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == SEAL_KEY_BYTES, "one key size");

/* What the tag covers besides the image, and what the nonce is made of. */
struct place {
    uint64_t sequence;
    uint32_t unit;
    uint16_t image_bytes;
    uint16_t kind;
};
#define NONCE_BYTES ((size_t)crypto_aead_chacha20poly1305_ietf_NPUBBYTES)
_Static_assert(NONCE_BYTES == sizeof(uint64_t) + sizeof(uint32_t), "sequence and unit are the nonce");

int seal_start(void)
{
    return sodium_init() >= 0 ? 0 : -ENOSYS;
}

int seal_init(struct seal *seal, unsigned char *key, bool encrypts)
{
    *seal = (struct seal){.key = key, .encrypts = encrypts};
    return os_random(key, SEAL_KEY_BYTES);
}

void seal_forget(struct seal *seal)
{
    if (seal->key != NULL)
        sodium_memzero(seal->key, SEAL_KEY_BYTES);
    seal->key = NULL;
}

/* Seeded with the key, so that a file made up from outside does not pass either. */
static void checksum(const struct seal *seal, const struct place *place, const unsigned char *image,
                     unsigned char tag[16])
{
    uint64_t seed;
    XXH128_hash_t hash;
    XXH128_canonical_t canonical;

    memcpy(&seed, seal->key, sizeof seed);
    seed ^= XXH3_64bits_withSeed(place, sizeof *place, seed);
    hash = XXH3_128bits_withSeed(image, place->image_bytes, seed);
    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(tag, &canonical, 16);
    sodium_memzero(&seed, sizeof seed);
}

void seal_close(const struct seal *seal, uint64_t sequence, uint32_t unit, unsigned char *box, size_t image_bytes, unsigned kind)
{
    struct place place = {.sequence = sequence, .unit = unit, .image_bytes = (uint16_t)image_bytes, .kind = (uint16_t)kind};
    struct header header = {.image_bytes = place.image_bytes, .kind = place.kind};
    unsigned char *image = box + SEAL_HEADER_BYTES;

    if (seal->encrypts)
        (void)crypto_aead_chacha20poly1305_ietf_encrypt_detached(
            image, header.tag, NULL, image, image_bytes, (const unsigned char *)&place, sizeof place, NULL,
            (const unsigned char *)&place, seal->key);
    else
        checksum(seal, &place, image, header.tag);
    memcpy(box, &header, sizeof header);
}

int seal_open(const struct seal *seal, uint64_t sequence, uint32_t unit, unsigned char *box, size_t box_bytes,
              size_t *image_bytes, unsigned *kind)
{
    struct place place = {.sequence = sequence, .unit = unit};
    unsigned char *image = box + SEAL_HEADER_BYTES;
    unsigned char tag[16];
    struct header header;

    memcpy(&header, box, sizeof header);
    if (header.image_bytes == 0 || header.image_bytes > box_bytes - SEAL_HEADER_BYTES)
        return -EBADMSG;
    place.image_bytes = header.image_bytes;
    place.kind = header.kind;
    *image_bytes = header.image_bytes;
    *kind = header.kind;
    if (seal->encrypts)
        return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
                   image, NULL, image, header.image_bytes, header.tag, (const unsigned char *)&place, sizeof place,
                   (const unsigned char *)&place, seal->key) == 0 ? 0 : -EBADMSG;
    checksum(seal, &place, image, tag);
    return memcmp(tag, header.tag, sizeof tag) == 0 ? 0 : -EBADMSG;
}
