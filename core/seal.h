/*
 * seal.h - what protects an image outside of RAM: its length and a checksum, or encryption with a proof of origin.
 *
 *     24 bytes of header                                   then the image
 *     tag (16: XXH3-128, or Poly1305), length (2), kind (2: of struct pool_image), 0 (4)
 *
 * The tag covers header and image and the place where they belong: the number of the segment's writing and the unit in
 * it. So a block that the disk mixed up, kept from an earlier writing, or lost does not pass for the right one.
 * Encrypted (ChaCha20-Poly1305, RFC 8439), number and unit are the nonce: they never come again under one key.
 *
 * Calls: xxhash, libsodium, os (random).  Locks: none.  Memory: the caller's.
 */
#ifndef GHOSTMEM_CORE_SEAL_H
#define GHOSTMEM_CORE_SEAL_H

#include "core/base.h"

#define SEAL_HEADER_BYTES ((size_t)24)
#define SEAL_KEY_BYTES ((size_t)32)

/* One a file. The key lives in the process alone, in memory of its own. */
struct seal {
    unsigned char *key;
    bool encrypts;
};

/* Once a process, before the first seal_init(). 0; -ENOSYS: encryption cannot be had. */
int seal_start(void);

/* A fresh random key, into SEAL_KEY_BYTES at @key. 0 or -errno. */
int seal_init(struct seal *seal, unsigned char *key, bool encrypts);

/* The key is no more. */
void seal_forget(struct seal *seal);

/* Write the header in front of an image that stands at @box + SEAL_HEADER_BYTES, and encrypt that in place. */
void seal_close(const struct seal *seal, uint64_t sequence, uint32_t unit, unsigned char *box, size_t image_bytes, unsigned kind);

/*
 * Check what was read, and decrypt it in place.
 * @box_bytes: readable from @box on. *@image_bytes: its length; it stands at @box + SEAL_HEADER_BYTES. *@kind: as it was closed.
 * Returns 0, or -EBADMSG.
 */
int seal_open(const struct seal *seal, uint64_t sequence, uint32_t unit, unsigned char *box, size_t box_bytes,
              size_t *image_bytes, unsigned *kind);

#endif
