/* test_config.c - the settings. What is said about bad ones is tested with a real process: tests/preload. */
#include "core/config.h"
#include "platform/host.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct config read_one(char *setting)
{
    char *environment[] = {(char *)(uintptr_t)"PATH=/bin", setting, NULL};
    struct config config;

    config_read(&config, environment);
    return config;
}

#define READ(text) read_one((char[]){text})

Test(config, defaults_are_those_of_the_table)
{
    struct config config;

    config_read(&config, NULL);
    cr_assert_eq(config.threshold_bytes, 128 * KIB);
    cr_assert_eq(config.limit_pages, 0);
    cr_assert_eq(config_pool_bytes(&config, 1000), UINT64_MAX);
    cr_assert(!config.disable && !config.strict && config.verbose == 0 && config.n_errors == 0);
    cr_assert(config.stats == NULL && config.log == NULL && config.programs == NULL);
    cr_assert_eq(config_limit_pages(&config), os_usable_ram_bytes() / 2 / PAGE_BYTES);
}

Test(config, limit_in_pages_is_taken)
{
    struct config config = READ("GHOSTMEM_MAX_PAGES=16384");

    cr_assert_eq(config_limit_pages(&config), 16384);
    cr_assert_eq(config.n_errors, 0);
}

Test(config, zero_pages_mean_the_default)
{
    struct config config = READ("GHOSTMEM_MAX_PAGES=0");

    cr_assert_eq(config.n_errors, 0);
    cr_assert_eq(config_limit_pages(&config), os_usable_ram_bytes() / 2 / PAGE_BYTES);
}

Test(config, limit_below_five_pages_becomes_five_and_is_an_error)
{
    struct config config = READ("GHOSTMEM_MAX_PAGES=4");

    cr_assert_eq(config_limit_pages(&config), 5);
    cr_assert_eq(config.n_errors, 1);
}

Test(config, limit_as_a_size_or_a_share)
{
    struct config size = READ("GHOSTMEM_MAX_MEMORY=512M");
    struct config small = READ("GHOSTMEM_MAX_MEMORY=1K");
    struct config share = READ("GHOSTMEM_MAX_MEMORY=25%");
    struct config wrong = READ("GHOSTMEM_MAX_MEMORY=101%");

    cr_assert_eq(config_limit_pages(&size), 512 * MIB / PAGE_BYTES);
    cr_assert_eq(config_limit_pages(&small), 5);
    cr_assert_eq(small.n_errors, 1);
    cr_assert_eq(config_limit_pages(&share), os_usable_ram_bytes() / 100 * 25 / PAGE_BYTES);
    cr_assert_eq(wrong.n_errors, 1);
}

Test(config, a_number_of_bytes_that_nobody_can_mean_is_no_limit)
{
    struct config few = READ("GHOSTMEM_MAX_MEMORY=25");
    struct config least = READ("GHOSTMEM_MAX_MEMORY=20480");

    cr_assert_eq(few.n_errors, 1);
    cr_assert_eq(config_limit_pages(&few), os_usable_ram_bytes() / 2 / PAGE_BYTES);
    cr_assert_eq(least.n_errors, 0);
    cr_assert_eq(config_limit_pages(&least), 5);
}

Test(config, of_two_limits_the_one_in_bytes_is_used_in_either_order)
{
    static char pages[] = "GHOSTMEM_MAX_PAGES=100";
    static char memory[] = "GHOSTMEM_MAX_MEMORY=4M";
    static char share[] = "GHOSTMEM_MAX_MEMORY=10%";
    char *const orders[][3] = {{pages, memory, NULL}, {memory, pages, NULL}, {pages, share, NULL}, {share, pages, NULL}};
    struct config config;

    for (size_t i = 0; i < 4; i++) {
        config_read(&config, orders[i]);
        cr_assert_eq(config.n_errors, 1);
        cr_assert_eq(config_limit_pages(&config), i < 2 ? 1024 : os_usable_ram_bytes() / 100 * 10 / PAGE_BYTES);
    }
}

Test(config, sizes_have_suffixes_in_either_case)
{
    uint64_t bytes;

    cr_assert(config_parse_size("4096", &bytes) && bytes == 4096);
    cr_assert(config_parse_size("4096B", &bytes) && bytes == 4096);
    cr_assert(config_parse_size("128k", &bytes) && bytes == 128 * KIB);
    cr_assert(config_parse_size("128KB", &bytes) && bytes == 128 * KIB);
    cr_assert(config_parse_size("3G", &bytes) && bytes == 3 * GIB);
    cr_assert(config_parse_size("1t", &bytes) && bytes == 1024 * GIB);
}

Test(config, what_is_no_size_is_refused)
{
    static const char *const wrong[] = {"", "M", "-1", "1.5G", "12 M", "1X", "1MM", "99999999999999999999", "20000000000G"};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert(!config_parse_size(wrong[i], &bytes), "%s", wrong[i]);
}

Test(config, bad_and_unknown_settings_count_and_change_nothing)
{
    static const char *const wrong[] = {
        "GHOSTMEM_MAX_PAGES=many", "GHOSTMEM_MAX_PAGES=-5",  "GHOSTMEM_MAX_PAGES=",     "GHOSTMEM_THRESHOLD=x",
        "GHOSTMEM_FAULTS=magic",   "GHOSTMEM_FAULTS=sig",    "GHOSTMEM_SWAP_MAX=0",     "GHOSTMEM_SWAP_MAX=x",
        "GHOSTMEM_VERBOSE=3",      "GHOSTMEM_STRICT=yes",    "GHOSTMEM_POOL=0",         "GHOSTMEM_MAXPAGES=5",
        "GHOSTMEM_=1",             "GHOSTMEM_DISABLE=2",     "GHOSTMEM_VERBOSE=",       "GHOSTMEM_COMPRESS=2",
        "GHOSTMEM_RECLAIM=never",  "GHOSTMEM_STATS=yes",    "GHOSTMEM_STATS=TRUE",     "GHOSTMEM_STATS=2",
        "GHOSTMEM_LOG=on",         "GHOSTMEM_LOG=1",        "GHOSTMEM_SWAP=off",       "GHOSTMEM_SWAP=1",
        "GHOSTMEM_MAX_PAGES=300M", "GHOSTMEM_MAX_PAGES=5%", "GHOSTMEM_MAX_MEMORY=0",   "GHOSTMEM_MAX_MEMORY=20479",
        "GHOSTMEM_COLD=brotli",   "GHOSTMEM_COLD=zstd:20",   "GHOSTMEM_COLD=zstd:",
        "GHOSTMEM_COLD=off:1",     "GHOSTMEM_COLD=lz4:3x",   "GHOSTMEM_COLD=",
    };
    struct config defaults;

    config_read(&defaults, NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[64];
        struct config config;

        strcpy(text, wrong[i]);
        config = read_one(text);
        cr_assert_eq(config.n_errors, 1, "%s", wrong[i]);
        config.n_errors = 0;
        cr_assert_eq(memcmp(&config, &defaults, sizeof config), 0, "%s", wrong[i]);
    }
}

Test(config, who_evicts_can_be_chosen)
{
    cr_assert_eq(READ("GHOSTMEM_RECLAIM=auto").reclaim, CONFIG_RECLAIM_AUTO);
    cr_assert_eq(READ("GHOSTMEM_RECLAIM=direct").reclaim, CONFIG_RECLAIM_DIRECT);
    cr_assert_eq(READ("GHOSTMEM_RECLAIM=background").reclaim, CONFIG_RECLAIM_BACKGROUND);
}

Test(config, how_cold_images_are_squeezed_can_be_chosen)
{
    cr_assert_eq(READ("GHOSTMEM_VERBOSE=0").cold, CONFIG_COLD_ZSTD);
    cr_assert_eq(READ("GHOSTMEM_VERBOSE=0").cold_level, 0);
    cr_assert_eq(READ("GHOSTMEM_COLD=off").cold, CONFIG_COLD_OFF);
    cr_assert_eq(READ("GHOSTMEM_COLD=lz4:12").cold, CONFIG_COLD_LZ4);
    cr_assert_eq(READ("GHOSTMEM_COLD=lz4:12").cold_level, 12);
    cr_assert_eq(READ("GHOSTMEM_COLD=zstd:3").cold_level, 3);
}

Test(config, swap_settings_are_taken)
{
    struct config config = READ("GHOSTMEM_SWAP=/tmp/x");

    cr_assert_str_eq(config.swap, "/tmp/x");
    cr_assert_eq(config_pool_bytes(&config, 8000), 1000 * PAGE_BYTES);
    cr_assert_eq(READ("GHOSTMEM_SWAP=").swap, NULL);
    cr_assert_eq(READ("GHOSTMEM_SWAP_MAX=3G").swap_max_bytes, 3 * GIB);
    cr_assert(READ("GHOSTMEM_SWAP_ENCRYPT=1").swap_encrypt);
    cr_assert(!READ("GHOSTMEM_COMPRESS=0").compress);
    config = READ("GHOSTMEM_POOL=7M");
    config.swap = "/tmp";
    cr_assert_eq(config_pool_bytes(&config, 8000), 7 * MIB);
}

Test(config, threshold_may_be_below_a_page)
{
    cr_assert_eq(READ("GHOSTMEM_THRESHOLD=100").threshold_bytes, 100);
    cr_assert_eq(READ("GHOSTMEM_THRESHOLD=0").threshold_bytes, 1, "all that have a byte");
}

Test(config, program_names_are_whole_names)
{
    struct config config = READ("GHOSTMEM_PROGRAMS=sort:xz");

    cr_assert(config_names_program(&config, "sort"));
    cr_assert(config_names_program(&config, "xz"));
    cr_assert(!config_names_program(&config, "so"));
    cr_assert(!config_names_program(&config, "sorted"));
    cr_assert(!config_names_program(&config, "tsort"));
    config = READ("GHOSTMEM_PROGRAMS=/usr/bin/sort:bin/xz");
    cr_assert(config_names_program(&config, "sort"));
    cr_assert(config_names_program(&config, "xz"));
    cr_assert(!config_names_program(&config, "bin"));
}

Test(config, percent_p_is_the_process)
{
    char path[64];
    char expected[64];

    snprintf(expected, sizeof expected, "/tmp/%d-%%x.json", (int)getpid());
    cr_assert(config_expand_path("/tmp/%p-%%x.json", "sort", path, sizeof path));
    cr_assert_str_eq(path, expected);
    cr_assert(!config_expand_path("/tmp/much-too-long", "sort", path, 8));
    cr_assert(config_expand_path("/tmp/%n.%%n", "sort", path, sizeof path));
    cr_assert_str_eq(path, "/tmp/sort.%n");
    cr_assert(!config_expand_path("/tmp/%n", "a name that is long", path, 16));
}
