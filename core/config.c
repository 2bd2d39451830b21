/* config.c - see config.h. */
#include "core/config.h"

#include "core/log.h"
#include "platform/file.h"
#include "platform/host.h"

#include <string.h>
#include <strings.h>

#define LEAST_LIMIT_BYTES (CONFIG_MIN_LIMIT_PAGES * PAGE_BYTES)
#define THRESHOLD_DEFAULT (128 * KIB) /* glibc's initial M_MMAP_THRESHOLD: what libc maps separately, too */

/* What the parsing of one variable came to. */
enum outcome {
    TAKEN,
    BAD,       /* not understood: the default is used */
    ADJUSTED,  /* too small: the least value is used */
};

struct setting {
    const char *name; /* without GHOSTMEM_ */
    enum outcome (*parse)(struct config *config, const char *value);
    const char *accepted;
    const char *standard; /* what is used after BAD */
    const char *least;    /* after ADJUSTED; NULL: parse() does not say so */
    /* Write at @line, which has @bytes, what a person who set a BAD @value may have meant: 0, or the length. NULL: none knows. */
    size_t (*guess)(const char *value, char *line, size_t bytes);
};

static bool parse_u64(const char *text, const char **end, uint64_t *value)
{
    const char *c = text;
    uint64_t v = 0;

    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *end = c;
    *value = v;
    return c != text;
}

bool config_parse_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "kmgt";
    const char *end;
    unsigned shift = 0;
    uint64_t value;

    if (!parse_u64(text, &end, &value))
        return false;
    if (*end != '\0' && *end != 'b' && *end != 'B') {
        char lower = (char)(*end | 0x20);
        const char *suffix = strchr(suffixes, lower);

        if (suffix == NULL)
            return false;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        end++;
    }
    if (*end == 'b' || *end == 'B')
        end++;
    if (*end != '\0' || value > UINT64_MAX >> shift)
        return false;
    *bytes = value << shift;
    return true;
}

/* 0, 7, 25: the whole text. */
static bool parse_plain_number(const char *text, uint64_t *value)
{
    const char *end;

    return parse_u64(text, &end, value) && *end == '\0';
}

/* An answer where a path is wanted: a file of that name would be made. */
static bool is_answer(const char *value)
{
    static const char *const answers[] = {"yes", "no", "true", "false", "on", "off", "y", "n"};
    uint64_t number;

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (strcasecmp(value, answers[i]) == 0)
            return true;
    return parse_plain_number(value, &number);
}

static size_t guess_file(const char *value, char *line, size_t bytes)
{
    return is_answer(value) ? log_format(line, bytes, 0, ": a file of that name is ./%s", value) : 0;
}

/* GHOSTMEM_MAX_MEMORY counts where GHOSTMEM_MAX_PAGES is set too, in whatever order the environment has them. */
static enum outcome take_limit(struct config *config, uint64_t pages)
{
    enum outcome outcome = TAKEN;

    if (pages > 0 && pages < CONFIG_MIN_LIMIT_PAGES) {
        pages = CONFIG_MIN_LIMIT_PAGES;
        outcome = ADJUSTED;
    }
    config->limit_pages = pages;
    return outcome;
}

static enum outcome parse_max_pages(struct config *config, const char *value)
{
    uint64_t pages;

    if (!parse_plain_number(value, &pages) || pages > UINT64_MAX >> PAGE_SHIFT)
        return BAD;
    config->sets_pages = pages > 0;
    return config->sets_memory ? TAKEN : take_limit(config, pages);
}

/* 300M, 50% */
static size_t guess_max_pages(const char *value, char *line, size_t bytes)
{
    const char *end;
    uint64_t number;
    bool sized = config_parse_size(value, &number) || (parse_u64(value, &end, &number) && strcmp(end, "%") == 0);

    return sized ? log_format(line, bytes, 0, ": GHOSTMEM_MAX_MEMORY takes sizes and shares") : 0;
}

static enum outcome parse_max_memory(struct config *config, const char *value)
{
    const char *end;
    uint64_t bytes;
    uint64_t percent;

    if (parse_u64(value, &end, &percent) && strcmp(end, "%") == 0) {
        if (percent < 1 || percent > 100)
            return BAD;
        config->sets_memory = true;
        config->limit_pages = 0;
        config->limit_percent = (unsigned)percent;
        return TAKEN;
    }
    if (!config_parse_size(value, &bytes) || bytes == 0)
        return BAD;
    if (bytes < LEAST_LIMIT_BYTES && parse_plain_number(value, &bytes))
        return BAD; /* nobody means so few bytes */
    config->sets_memory = true;
    config->limit_percent = 0;
    return take_limit(config, max_size(bytes >> PAGE_SHIFT, 1));
}

/* 25 */
static size_t guess_max_memory(const char *value, char *line, size_t bytes)
{
    uint64_t number;

    if (!parse_plain_number(value, &number) || number == 0)
        return 0;
    if (number <= 100)
        return log_format(line, bytes, 0, ": was %s%% or %sM meant?", value, value);
    return log_format(line, bytes, 0, ": was %sM meant?", value);
}

static enum outcome parse_threshold(struct config *config, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes))
        return BAD;
    config->threshold_bytes = bytes == 0 ? 1 : bytes;
    return TAKEN;
}

static enum outcome parse_pool(struct config *config, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes) || bytes == 0)
        return BAD;
    config->pool_bytes = bytes;
    return TAKEN;
}

static enum outcome parse_swap(struct config *config, const char *value)
{
    bool none = value[0] == '\0' || strcmp(value, "0") == 0;

    if (!none && is_answer(value))
        return BAD;
    config->swap = none ? NULL : value;
    return TAKEN;
}

static enum outcome parse_swap_max(struct config *config, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes) || bytes == 0)
        return BAD;
    config->swap_max_bytes = bytes;
    return TAKEN;
}

/* The place of @value in @names; @n_names when it is none of them. */
static size_t find_name(const char *const *names, size_t n_names, const char *value)
{
    size_t i = 0;

    while (i < n_names && strcmp(value, names[i]) != 0)
        i++;
    return i;
}

static enum outcome parse_faults(struct config *config, const char *value)
{
    static const char *const names[] = {
        [CONFIG_FAULTS_AUTO] = "auto",
        [CONFIG_FAULTS_THREAD] = "thread",
        [CONFIG_FAULTS_SIGNAL] = "signal",
        [CONFIG_FAULTS_SEGV] = "segv",
    };
    size_t i = find_name(names, sizeof names / sizeof names[0], value);

    if (i == sizeof names / sizeof names[0])
        return BAD;
    config->faults = (enum config_faults)i;
    return TAKEN;
}

static enum outcome parse_reclaim(struct config *config, const char *value)
{
    static const char *const names[] = {
        [CONFIG_RECLAIM_AUTO] = "auto",
        [CONFIG_RECLAIM_DIRECT] = "direct",
        [CONFIG_RECLAIM_BACKGROUND] = "background",
    };
    size_t i = find_name(names, sizeof names / sizeof names[0], value);

    if (i == sizeof names / sizeof names[0])
        return BAD;
    config->reclaim = (enum config_reclaim)i;
    return TAKEN;
}

/* "zstd:3": a way, and for those that have levels one of these. */
static enum outcome parse_cold(struct config *config, const char *value)
{
    static const struct {
        const char *name;
        unsigned levels;
    } ways[] = {
        [CONFIG_COLD_OFF] = {"off", 0},
        [CONFIG_COLD_LZ4] = {"lz4", 12}, /* Source: lz4hc.h, LZ4HC_CLEVEL_MAX */
        [CONFIG_COLD_ZSTD] = {"zstd", 19}, /* zstd(1) without --ultra */
    };
    size_t length = strcspn(value, ":");
    uint64_t level = 0;

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const char *end = "";

        if (strlen(ways[i].name) != length || strncmp(ways[i].name, value, length) != 0)
            continue;
        if (value[length] == ':' && (!parse_u64(value + length + 1, &end, &level) || level < 1 || level > ways[i].levels))
            return BAD;
        if (*end != '\0')
            return BAD;
        config->cold = (enum config_cold)i;
        config->cold_level = (int)level;
        return TAKEN;
    }
    return BAD;
}

static enum outcome parse_scope(struct config *config, const char *value)
{
    static const char *const names[] = {
        [CONFIG_SCOPE_BLOCKS] = "blocks",
        [CONFIG_SCOPE_PROCESS] = "process",
    };
    size_t i = find_name(names, sizeof names / sizeof names[0], value);

    if (i == sizeof names / sizeof names[0])
        return BAD;
    config->scope = (enum config_scope)i;
    return TAKEN;
}

static enum outcome parse_bool(const char *value, bool *flag)
{
    if ((value[0] != '0' && value[0] != '1') || value[1] != '\0')
        return BAD;
    *flag = value[0] == '1';
    return TAKEN;
}

static enum outcome parse_compress(struct config *config, const char *value)
{
    return parse_bool(value, &config->compress);
}

static enum outcome parse_swap_encrypt(struct config *config, const char *value)
{
    return parse_bool(value, &config->swap_encrypt);
}

static enum outcome parse_interpose(struct config *config, const char *value)
{
    bool on;
    enum outcome outcome = parse_bool(value, &on);

    if (outcome == TAKEN)
        config->interpose = on ? CONFIG_INTERPOSE_ON : CONFIG_INTERPOSE_OFF;
    return outcome;
}

static enum outcome parse_misuse(struct config *config, const char *value)
{
    static const char *const names[] = {"warn", "abort"};
    size_t i = find_name(names, sizeof names / sizeof names[0], value);

    if (i == sizeof names / sizeof names[0])
        return BAD;
    config->misuse_aborts = i == 1;
    return TAKEN;
}

static enum outcome parse_disable(struct config *config, const char *value)
{
    return parse_bool(value, &config->disable);
}

static enum outcome parse_strict(struct config *config, const char *value)
{
    return parse_bool(value, &config->strict);
}

static enum outcome parse_verbose(struct config *config, const char *value)
{
    if (value[0] < '0' || value[0] > '2' || value[1] != '\0')
        return BAD;
    config->verbose = (unsigned)(value[0] - '0');
    return TAKEN;
}

static enum outcome parse_stats(struct config *config, const char *value)
{
    bool none = value[0] == '\0' || strcmp(value, "0") == 0;

    if (!none && strcmp(value, "1") != 0 && is_answer(value))
        return BAD;
    config->stats = none ? NULL : value;
    return TAKEN;
}

static enum outcome parse_log(struct config *config, const char *value)
{
    if (is_answer(value))
        return BAD;
    config->log = value[0] == '\0' ? NULL : value;
    return TAKEN;
}

static enum outcome parse_programs(struct config *config, const char *value)
{
    config->programs = value[0] == '\0' ? NULL : value;
    return TAKEN;
}

/* With a swap file the default of GHOSTMEM_POOL is this part of the limit. */
#define SWAP_POOL_SHARE 8

#define DEFAULT_LIMIT "the default, which is half of the usable RAM"

static const struct setting settings[] = {
    {"MAX_PAGES", parse_max_pages, "a number of 4096-byte pages, at least 5, or 0 for the default", DEFAULT_LIMIT, "5", guess_max_pages},
    {"MAX_MEMORY", parse_max_memory, "a size of at least 20K such as 512M or 2G, or a share from 1% to 100%", DEFAULT_LIMIT, "20K",
     guess_max_memory},
    {"SCOPE", parse_scope, "process or blocks", "blocks", NULL, NULL},
    {"THRESHOLD", parse_threshold, "a size such as 128K", "128K", NULL, NULL},
    {"SWAP", parse_swap, "a path", "RAM alone", NULL, guess_file},
    {"SWAP_MAX", parse_swap_max, "a size such as 8G", "no bound", NULL, NULL},
    {"SWAP_ENCRYPT", parse_swap_encrypt, "0 or 1", "0", NULL, NULL},
    {"COMPRESS", parse_compress, "0 or 1", "1", NULL, NULL},
    {"COLD", parse_cold, "zstd, lz4 or off; zstd:1 to zstd:19 and lz4:1 to lz4:12 with a level", "zstd", NULL, NULL},
    {"POOL", parse_pool, "a size such as 1G", "no bound, or an eighth of the limit with a swap file", NULL, NULL},
    {"FAULTS", parse_faults, "auto, thread, signal or segv", "auto", NULL, NULL},
    {"RECLAIM", parse_reclaim, "auto, direct or background", "auto", NULL, NULL},
    {"PROGRAMS", parse_programs, "names separated by colons", "all", NULL, NULL},
    {"STATS", parse_stats, "0, 1 or a path", "0", NULL, guess_file},
    {"VERBOSE", parse_verbose, "0, 1 or 2", "0", NULL, NULL},
    {"LOG", parse_log, "a path", "stderr", NULL, guess_file},
    {"INTERPOSE", parse_interpose, "0 or 1", "1, or 0 where the program links the library", NULL, NULL},
    {"MISUSE", parse_misuse, "warn or abort", "warn", NULL, NULL},
    {"STRICT", parse_strict, "0 or 1", "0", NULL, NULL},
    {"DISABLE", parse_disable, "0 or 1", "0", NULL, NULL},
};
#define N_SETTINGS (sizeof settings / sizeof settings[0])

const char *config_setting_name(size_t number, const char **accepted)
{
    if (number >= N_SETTINGS)
        return NULL;
    *accepted = settings[number].accepted;
    return settings[number].name;
}

bool config_setting_takes(size_t number, const char *value)
{
    struct config scratch = {0};

    return settings[number].parse(&scratch, value) == TAKEN;
}

static const struct setting *find_setting(const char *name, size_t length)
{
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (strlen(settings[i].name) == length && memcmp(settings[i].name, name, length) == 0)
            return &settings[i];
    return NULL;
}

bool config_take(struct config *config, const char *text)
{
    const char *name = strncmp(text, "GHOSTMEM_", strlen("GHOSTMEM_")) == 0 ? text + strlen("GHOSTMEM_") : text;
    const char *equals = strchr(name, '=');
    const struct setting *setting = equals != NULL ? find_setting(name, (size_t)(equals - name)) : NULL;

    return setting != NULL && setting->parse(config, equals + 1) == TAKEN;
}

static void say_unknown(const char *variable, size_t length)
{
    char names[LOG_LINE_BYTES / 2];
    size_t n = 0;
    char name[64];

    length = min_size(length, sizeof name - 1);
    memcpy(name, variable, length);
    name[length] = '\0';
    for (size_t i = 0; i < N_SETTINGS; i++)
        n = log_format(names, sizeof names, n, " %s", settings[i].name);
    log_line(LOG_ERROR, "%s: no such setting; accepted after GHOSTMEM_ are%s; it is ignored", name, names);
}

static void say_refused(const struct setting *setting, const char *value, enum outcome outcome)
{
    bool small = outcome == ADJUSTED;
    char guess[LOG_LINE_BYTES / 4] = "";

    if (!small && setting->guess != NULL)
        (void)setting->guess(value, guess, sizeof guess);
    log_line(LOG_ERROR, "GHOSTMEM_%s=%s: %s%s; accepted: %s; used instead: %s", setting->name, value,
             small ? "too small" : "not understood", guess, setting->accepted, small ? setting->least : setting->standard);
}

static void parse_all(struct config *config, char *const *environment, bool say)
{
    static const char prefix[] = "GHOSTMEM_";
    const size_t prefix_length = sizeof prefix - 1;

    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        const struct setting *setting;
        enum outcome outcome;

        if (strncmp(*environment, prefix, prefix_length) != 0 || equals == NULL)
            continue;
        setting = find_setting(*environment + prefix_length, (size_t)(equals - *environment) - prefix_length);
        if (setting == NULL) {
            config->n_errors++;
            if (say)
                say_unknown(*environment, (size_t)(equals - *environment));
            continue;
        }
        outcome = setting->parse(config, equals + 1);
        if (outcome == TAKEN)
            continue;
        config->n_errors++;
        if (say)
            say_refused(setting, equals + 1, outcome);
    }
    if (!config->sets_pages || !config->sets_memory)
        return;
    config->n_errors++;
    if (say)
        log_line(LOG_ERROR, "GHOSTMEM_MAX_PAGES and GHOSTMEM_MAX_MEMORY are both set: GHOSTMEM_MAX_MEMORY is used");
}

void config_read(struct config *config, char *const *environment)
{
    memset(config, 0, sizeof *config);
    config->threshold_bytes = THRESHOLD_DEFAULT;
    config->swap_max_bytes = UINT64_MAX;
    config->compress = true;
    config->cold = CONFIG_COLD_ZSTD;
    if (environment != NULL)
        parse_all(config, environment, false);
}

void config_complain(const struct config *config, char *const *environment)
{
    struct config scratch = *config;

    if (environment != NULL && config->n_errors > 0)
        parse_all(&scratch, environment, true);
}

uint64_t config_limit_pages(const struct config *config)
{
    uint64_t pages = config->limit_pages;

    if (config->limit_percent > 0)
        pages = os_usable_ram_bytes() / 100 * config->limit_percent >> PAGE_SHIFT;
    else if (pages == 0)
        pages = os_usable_ram_bytes() / 2 >> PAGE_SHIFT;
    return pages < CONFIG_MIN_LIMIT_PAGES ? CONFIG_MIN_LIMIT_PAGES : pages;
}

uint64_t config_pool_bytes(const struct config *config, uint64_t limit_pages)
{
    if (config->pool_bytes != 0)
        return config->pool_bytes;
    return config->swap != NULL ? limit_pages * PAGE_BYTES / SWAP_POOL_SHARE : UINT64_MAX;
}

bool config_names_program(const struct config *config, const char *name)
{
    const char *list = config->programs;
    size_t length = strlen(name);

    if (list == NULL)
        return true;
    for (;;) {
        size_t n = strcspn(list, ":");
        const char *slash = memrchr(list, '/', n);
        const char *last = slash == NULL ? list : slash + 1; /* of a path, the name alone */

        if ((size_t)(list + n - last) == length && memcmp(last, name, length) == 0)
            return true;
        if (list[n] == '\0')
            return false;
        list += n + 1;
    }
}

bool config_expand_path(const char *pattern, const char *program, char *path, size_t bytes)
{
    size_t length = 0;

    for (const char *c = pattern; *c != '\0'; c++) {
        if (length + 1 >= bytes)
            return false;
        if (*c != '%' || (c[1] != 'p' && c[1] != 'n' && c[1] != '%')) {
            path[length++] = *c;
            continue;
        }
        if (*++c == '%')
            path[length++] = '%';
        else if (*c == 'p')
            length = log_format(path, bytes, length, "%d", os_process_id());
        else
            length = log_format(path, bytes, length, "%s", program);
    }
    path[length] = '\0';
    return length + 1 < bytes;
}
