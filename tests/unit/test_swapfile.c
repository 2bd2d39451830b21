/* test_swapfile.c - what lies on the disk: the seal of an image, and the files. */
#include "platform/swapfile.h"
#include "tests/unit/fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- seal ---- */

static void seal_round_trip(bool encrypts)
{
    unsigned char key[SEAL_KEY_BYTES];
    struct seal seal;
    unsigned char box[SEAL_HEADER_BYTES + 1000];
    unsigned char image[1000];
    unsigned char copy[sizeof box];
    size_t bytes;
    unsigned kind;

    cr_assert_eq(seal_start(), 0);
    cr_assert_eq(seal_init(&seal, key, encrypts), 0);
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (unsigned char)(i * 7);
    memcpy(box + SEAL_HEADER_BYTES, image, sizeof image);
    seal_close(&seal, 5, 9, box, sizeof image, 3);
    cr_assert_eq(memcmp(box + SEAL_HEADER_BYTES, image, sizeof image) == 0, !encrypts);
    for (size_t bit = 0; bit < sizeof box * 8; bit += 13) {
        if (bit / 8 >= 20 && bit / 8 < SEAL_HEADER_BYTES)
            continue; /* zeros that nobody reads */
        memcpy(copy, box, sizeof box);
        copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
        cr_assert_eq(seal_open(&seal, 5, 9, copy, sizeof box, &bytes, &kind), -EBADMSG, "bit %zu", bit);
    }
    memcpy(copy, box, sizeof box);
    cr_assert_eq(seal_open(&seal, 6, 9, copy, sizeof box, &bytes, &kind), -EBADMSG, "of another writing");
    memcpy(copy, box, sizeof box);
    cr_assert_eq(seal_open(&seal, 5, 10, copy, sizeof box, &bytes, &kind), -EBADMSG, "of another place");
    memset(copy, 0, sizeof copy);
    cr_assert_eq(seal_open(&seal, 5, 9, copy, sizeof box, &bytes, &kind), -EBADMSG, "never written");
    cr_assert_eq(seal_open(&seal, 5, 9, box, sizeof box, &bytes, &kind), 0);
    cr_assert_eq(bytes, sizeof image);
    cr_assert_eq(kind, 3);
    cr_assert_eq(memcmp(box + SEAL_HEADER_BYTES, image, sizeof image), 0);
}

Test(seal, any_changed_bit_and_any_other_place_is_found)
{
    seal_round_trip(false);
}

Test(seal, encrypted_image_is_unreadable_and_any_change_is_found)
{
    seal_round_trip(true);
}

/* ---- files ---- */

Test(swapfile, file_has_no_name_and_what_exists_is_left_alone)
{
    char directory[] = "/tmp/ghostmem-swap-XXXXXX";
    char path[64];
    char link[64];
    FILE *file;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/swap", directory);
    snprintf(link, sizeof link, "%s/link", directory);
    fd = os_swapfile_create(path);
    cr_assert_geq(fd, 3);
    cr_assert_neq(access(path, F_OK), 0);
    os_swapfile_close(fd);
    fd = os_swapfile_create(directory);
    cr_assert_geq(fd, 3);
    os_swapfile_close(fd);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fd = os_swapfile_create(path); /* empty: no harm, but it is not ours either */
    cr_assert_geq(fd, 3);
    os_swapfile_close(fd);
    cr_assert_eq(access(path, F_OK), 0);
    fputs("precious", file);
    fclose(file);
    cr_assert_eq(os_swapfile_create(path), -EEXIST);
    cr_assert_eq(symlink("swap", link), 0);
    cr_assert_eq(os_swapfile_create(link), -ELOOP);
    cr_assert_eq(os_swapfile_create("/dev/null"), -EINVAL);
    cr_assert_eq(os_swapfile_create("/nonexistent/swap"), -ENOENT);
    file = fopen(path, "r");
    cr_assert_eq(fgetc(file), 'p');
    fclose(file);
    unlink(link);
    unlink(path);
    rmdir(directory);
}

Test(swapfile, holder_knows_whether_it_is_alone)
{
    int fd = os_swapfile_create("/tmp");
    int copy;

    cr_assert(os_swapfile_is_alone(fd));
    copy = os_swapfile_reopen((uint32_t)getpid(), fd);
    cr_assert_geq(copy, 3);
    cr_assert(!os_swapfile_is_alone(fd));
    cr_assert(!os_swapfile_is_alone(copy));
    os_swapfile_close(fd);
    cr_assert(os_swapfile_is_alone(copy));
    os_swapfile_close(copy);
}

/* SIGXFSZ would end the test. */
Test(swapfile, file_does_not_pass_the_size_limit_and_no_signal_comes_of_it)
{
    static char data[10000];
    int fd = os_swapfile_create("/tmp");
    struct rlimit old;
    struct rlimit small;
    struct stat status;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){20000, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(os_swapfile_write(fd, data, sizeof data, 10000), 0);
    cr_assert_eq(os_swapfile_write(fd, data, sizeof data, 10001), -EFBIG);
    cr_assert_eq(os_swapfile_write(fd, data, sizeof data, 1 << 20), -EFBIG);
    cr_assert_eq(os_swapfile_truncate(fd, 20001), 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_size, 20000);
    small.rlim_cur = 5000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(os_swapfile_truncate(fd, 15000), 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_size, 15000);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(os_swapfile_write(fd, data, sizeof data, 1 << 20), 0);
    os_swapfile_close(fd);
}

/* What encryption needs: number and unit are the nonce, and a place is used again and again. */
Test(swapfile, no_segment_is_ever_written_under_the_same_number_twice)
{
    static struct swap swap;
    static struct os_lock lock = {.rank = LOCK_PAGER};
    uint64_t last = 0;

    cr_assert_eq(swap_init(&swap, "/tmp", UINT64_MAX, true), 0);
    cr_assert_eq(swap_add_file(&swap, &lock), 0);
    os_lock_take(&lock);
    for (int i = 0; i < 100; i++) {
        struct swap_where where;
        int error;
        uint32_t segment = swap_begin_locked(&swap, &error);

        cr_assert_eq(segment, 1);
        swap_locate_locked(&swap, segment * SWAP_SEGMENT_UNITS, &where);
        cr_assert_eq(where.offset, 0);
        cr_assert_gt(where.sequence, last);
        last = where.sequence;
        swap_keep_locked(&swap, segment * SWAP_SEGMENT_UNITS, 3);
        swap_end_locked(&swap, segment);
        swap_release_locked(&swap, segment * SWAP_SEGMENT_UNITS, 3);
        cr_assert_eq(swap.n_used, 0);
    }
}

/* Two files never share a key, so what a child writes after a fork has nonces of its own. */
Test(swapfile, each_file_has_a_key_of_its_own)
{
    static struct swap swap;
    static struct os_lock lock = {.rank = LOCK_PAGER};

    cr_assert_eq(swap_init(&swap, "/tmp", UINT64_MAX, true), 0);
    cr_assert_eq(swap_add_file(&swap, &lock), 0);
    cr_assert_eq(swap_add_file(&swap, &lock), 0);
    cr_assert_neq(memcmp(swap.files[0].seal.key, swap.files[1].seal.key, SEAL_KEY_BYTES), 0);
}

/* An unnamed file stays without one: not even its owner can link it, and its key is in no core file. */
Test(swapfile, nobody_can_name_the_file_or_dump_its_key)
{
    static struct swap swap;
    static struct os_lock lock = {.rank = LOCK_PAGER};
    char path[64];
    char line[256];
    FILE *smaps;
    uintptr_t start = 0;
    uintptr_t end = 0;
    bool found = false;

    cr_assert_eq(swap_init(&swap, "/tmp", UINT64_MAX, true), 0);
    cr_assert_eq(swap_add_file(&swap, &lock), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", swap.files[0].fd);
    cr_assert_eq(linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/ghostmem-named", AT_SYMLINK_FOLLOW), -1);
    smaps = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(smaps);
    while (fgets(line, sizeof line, smaps) != NULL) {
        uintptr_t from;
        uintptr_t to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            start = from;
            end = to;
        }
        if (strncmp(line, "VmFlags:", 8) == 0 && (uintptr_t)swap.keys >= start && (uintptr_t)swap.keys < end)
            found = strstr(line, " dd") != NULL;
    }
    fclose(smaps);
    cr_assert(found);
}
