/*
 * swap.h - the swap file: which part of it holds images, and which may be written.
 *
 * Space is cut into segments of 256 KiB, each written at once and never changed afterwards. A segment counts the units
 * that live images occupy; when none is left, its place in the file is free again. Places are reused from the front;
 * more free ones than a small reserve are punched out of the file or cut off its end.
 *
 * There is usually one file. A fork makes every file a shared one: both sides only read it, and each writes to a new file of its
 * own, until one side is alone with the shared file again. Segments are numbered across files.
 *
 * A segment is:   absent -> open (being written) -> closed -> absent
 * A place in a file is: absent (no disk space), used (by a segment), spare (disk space, no segment)
 *
 * Calls: seal, log, os (swapfile, mem).  Locks: the caller's (pager.lock) for all that ends in _locked; the one thread
 * that writes at a time (writeback.h) for the others.  Memory: its own reservations.
 */
#ifndef GHOSTMEM_CORE_SWAP_H
#define GHOSTMEM_CORE_SWAP_H

#include "core/seal.h"
#include "platform/lock.h"

#define SWAP_UNIT_BYTES ((size_t)64)
#define SWAP_SEGMENT_BYTES (256 * KIB)
#define SWAP_SEGMENT_UNITS ((uint32_t)(SWAP_SEGMENT_BYTES / SWAP_UNIT_BYTES))
/* The largest image: a plain page and its header. */
#define SWAP_MAX_UNITS ((uint32_t)((PAGE_BYTES + SEAL_HEADER_BYTES + SWAP_UNIT_BYTES - 1) / SWAP_UNIT_BYTES))
#define SWAP_MAX_FILES 32u
#define SWAP_MAX_SEGMENTS ((uint32_t)1 << 20) /* 256 GiB */

/* Segment number and first unit of an image. 0 is none: segments count from 1. */
typedef uint32_t swap_handle;

static inline uint32_t swap_segment_of(swap_handle handle)
{
    return handle / SWAP_SEGMENT_UNITS;
}

static inline uint32_t swap_unit_of(swap_handle handle)
{
    return handle % SWAP_SEGMENT_UNITS;
}

struct swap_segment {
    uint64_t sequence; /* of its writing; 0: absent */
    uint32_t place : 24;
    uint32_t file : 5;
    uint32_t open : 1;
    uint32_t victim : 1; /* its live images are being copied out */
    uint32_t bad : 1;    /* something in it could not be read: left alone */
    uint16_t live_units;
    uint16_t reserved;
};
_Static_assert(sizeof(struct swap_segment) == 16, "16 bytes of table for 256 KiB of images");

enum swap_place {
    SWAP_PLACE_ABSENT,
    SWAP_PLACE_USED,
    SWAP_PLACE_SPARE,
};

static inline uint64_t swap_offset_of(uint32_t place)
{
    return (uint64_t)place * SWAP_SEGMENT_BYTES;
}

struct swap_file {
    int fd;     /* -1: no file */
    int direct; /* the same, past the page cache; -1: none */
    bool is_shared;
    uint32_t n_places; /* the file's length */
    uint32_t n_used;
    uint32_t n_spare;
    uint32_t lowest_free; /* no place below is free */
    struct seal seal;
    uint8_t *places; /* enum swap_place */
};

struct swap {
    /* Set by swap_init(), constant afterwards. */
    const char *path; /* NULL: there is no swap */
    uint64_t max_bytes;
    bool encrypts;
    struct swap_segment *segments;
    unsigned char *keys; /* of the files, SEAL_KEY_BYTES each */

    /* Guarded by pager.lock. */
    struct swap_file files[SWAP_MAX_FILES];
    uint32_t n_segments; /* numbers [1, n_segments] have been used at some time */
    uint32_t lowest_free; /* no number below is free */
    uint32_t committed;
    uint32_t n_used;     /* segments */
    uint64_t live_units; /* written with the lock held, read by anybody */
    uint64_t next_sequence;
    uint32_t died_units; /* since the background thread last looked; atomic */

    /* Written by the one writer, read by anybody with relaxed loads. */
    uint64_t written_bytes;
    uint64_t cleaned_bytes; /* of those, images written again to empty other segments */
    uint64_t write_errors;
    uint64_t read_errors;
    uint64_t read_bytes;
};

/* Where an image lies, for reading it without a lock while its page is in transit. */
struct swap_where {
    int fd;
    int direct;
    uint32_t unit;
    uint64_t offset; /* of the image's box */
    uint64_t sequence;
    const struct seal *seal;
};

/* @path: kept, not copied; NULL: no swap, and nothing else is needed. 0 or -errno. */
int swap_init(struct swap *swap, const char *path, uint64_t max_bytes, bool encrypts);

static inline bool swap_is_on(const struct swap *swap)
{
    return swap->path != NULL;
}

/* Give up the swap: images stay in RAM. Only while there is no segment. */
void swap_disable(struct swap *swap);

/* Open one more file of our own. 0 or -errno, -EMFILE when there are too many. */
int swap_add_file(struct swap *swap, struct os_lock *lock);

/* A new open segment. Its number; 0: *@error is -ENOENT (no file to write to: swap_add_file()) or -ENOSPC. */
uint32_t swap_begin_locked(struct swap *swap, int *error);

/* Count the @n_units of @handle, an image of the open segment, as live: its page is SWAPPED now. */
void swap_keep_locked(struct swap *swap, swap_handle handle, uint32_t n_units);

/* The segment has been written, or could not be. In the second case no image in it is live. */
void swap_end_locked(struct swap *swap, uint32_t segment);

/* An image is not needed any more. */
void swap_release_locked(struct swap *swap, swap_handle handle, uint32_t n_units);

void swap_locate_locked(const struct swap *swap, swap_handle handle, struct swap_where *where);

/* Write @bytes of the segment's buffer. 0 or -errno. */
int swap_write(struct swap *swap, const struct swap_where *where, const void *buffer, size_t bytes);

/*
 * Read @bytes from the place of an image on. 0 or -errno.
 * The images in it are opened with seal_open(), each with its own sequence and unit.
 */
int swap_read(struct swap *swap, const struct swap_where *where, void *buffer, size_t bytes);

/* The same for one image, best for a disk that has to look for it. @buffer, @data: see os_swapfile_read_random(). */
int swap_read_one(struct swap *swap, const struct swap_where *where, void *buffer, size_t bytes, void **data);

/* Is so much space taken by dead images that it pays to copy the live ones together? */
bool swap_wants_cleaning_locked(const struct swap *swap);

/* Mark segments whose live images fit into one new segment. Writes their numbers to @victims and returns how many, at most @most. */
unsigned swap_pick_victims_locked(struct swap *swap, uint32_t *victims, unsigned most);

/* Look after the files: return spare places, close what nobody needs, find out which are ours alone again. */
void swap_tend(struct swap *swap, struct os_lock *lock);

/* Is some file common with another process? */
bool swap_is_shared_locked(const struct swap *swap);

/* Bytes of live images, bytes of disk space, RAM for tables. The first two: the caller holds the lock. */
uint64_t swap_used_bytes(const struct swap *swap);
uint64_t swap_file_bytes(const struct swap *swap);
size_t swap_meta_bytes(const struct swap *swap);

/*
 * Around fork(), all under the caller's lock and with no reading or writing under way.
 * swap_fork_prepare(): open every file anew, in the caller's descriptor table, for the child. @thread: the files stand in the table
 * of this thread; 0: in the caller's. Returns 0; -errno: nothing was opened.
 * swap_fork_child(): @inherited: the child has the parent's descriptors too, and closes them.
 */
struct swap_fork {
    int fds[SWAP_MAX_FILES]; /* -1: none */
};
int swap_fork_prepare(struct swap *swap, uint32_t thread, struct swap_fork *copies);
void swap_fork_parent(struct swap *swap, struct swap_fork *copies);
void swap_fork_child(struct swap *swap, const struct swap_fork *copies, bool inherited);

#endif
