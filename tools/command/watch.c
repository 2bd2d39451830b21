/* watch.c - see watch.h. */
#include "tools/command/watch.h"

#include "core/swap.h"
#include "platform/thread.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>


static struct watched *find(const struct watch *watch, int id)
{
    for (size_t i = 0; i < watch->n; i++)
        if (watch->all[i]->process.id == id)
            return watch->all[i];
    return NULL;
}

static void drop(struct watch *watch, size_t i)
{
    process_close(&watch->all[i]->process);
    free(watch->all[i]);
    watch->n--;
    memmove(&watch->all[i], &watch->all[i + 1], (watch->n - i) * sizeof watch->all[0]);
}

static int add(struct watch *watch, struct watched *watched)
{
    if (watch->n == watch->room) {
        size_t room = watch->room == 0 ? 16 : 2 * watch->room;
        struct watched **all = realloc(watch->all, room * sizeof all[0]);

        if (all == NULL)
            return -1;
        watch->all = all;
        watch->room = room;
    }
    watch->all[watch->n++] = watched;
    return 0;
}

static uint64_t waited_ns(const struct process *process)
{
    static const char *const kinds[] = {"waited_first_touch_ticks", "waited_image_ticks", "waited_swap_ticks",
                                        "waited_cooled_ticks",      "waited_call_ticks",  "waited_other_ticks"};
    uint64_t ticks = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        ticks += process_value(process, kinds[i]);
    return os_ticks_ns(ticks);
}

static void note(struct watched *watched)
{
    const struct process *process = &watched->process;
    struct sight *now = &watched->now;
    uint64_t now_ns = os_now_ns();
    uint64_t faults = process_value(process, "faults");
    uint64_t waited = waited_ns(process);
    double passed_ns = (double)(now_ns - watched->looked_ns);
    bool engaged = process_value(process, "engaged") != 0;
    double made_bytes = (double)process_value(process, "images_made_bytes");

    *now = (struct sight){
        .limit = (double)process_value(process, "limit_pages") * (double)PAGE_BYTES,
        .resident = (double)process_value(process, engaged ? "resident_pages" : "live_pages") * (double)PAGE_BYTES,
        .frozen = (double)(process_value(process, "frozen_pages") + process_value(process, "same_filled_pages") +
                           process_value(process, "swapped_pages")) * (double)PAGE_BYTES,
        .images = (double)process_value(process, "pool_held_bytes"),
        .swap = (double)process_value(process, "swap_used_units") * (double)SWAP_UNIT_BYTES,
        .ratio = made_bytes > 0 ? (double)process_value(process, "images_made") * (double)PAGE_BYTES / made_bytes : 0,
    };
    if (watched->looked_ns != 0 && passed_ns > 0) {
        now->faults_a_second = faults > watched->faults ? (double)(faults - watched->faults) * 1e9 / passed_ns : 0;
        now->waited_percent = waited > watched->waited_ns ? 100 * (double)(waited - watched->waited_ns) / passed_ns : 0;
    }
    watched->faults = faults;
    watched->waited_ns = waited;
    watched->looked_ns = now_ns;
    watched->history[watched->n_history++ % WATCH_HISTORY] = *now;
}

/* A process of this number: known, or new. */
static int look_at(struct watch *watch, int id)
{
    struct watched *watched = find(watch, id);
    enum process_answer answer;

    if (watched != NULL && !watched->closed && process_read(&watched->process)) {
        watched->seen = true;
        note(watched);
        return 0;
    }
    watched = calloc(1, sizeof *watched); /* the known one, if it is another by now, goes as it is not seen */
    if (watched == NULL)
        return -1;
    answer = process_open(&watched->process, id, false, watched->why);
    watched->seen = true;
    watched->closed = answer == PROCESS_CLOSED;
    if (answer == PROCESS_THERE && process_read(&watched->process)) {
        note(watched);
        return add(watch, watched);
    }
    process_close(&watched->process);
    if (answer == PROCESS_CLOSED && watched->process.has_library)
        return add(watch, watched);
    free(watched);
    return 0;
}

int watch_look(struct watch *watch)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    int error = 0;

    if (processes == NULL)
        return -1;
    for (size_t i = 0; i < watch->n; i++)
        watch->all[i]->seen = false;
    while (error == 0 && (entry = readdir(processes)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]))
            error = look_at(watch, atoi(entry->d_name));
    (void)closedir(processes);
    for (size_t i = 0; i < watch->n;)
        if (watch->all[i]->seen)
            i++;
        else
            drop(watch, i);
    return error;
}

void watch_free(struct watch *watch)
{
    while (watch->n > 0)
        drop(watch, watch->n - 1);
    free(watch->all);
    *watch = (struct watch){0};
}

/* ---- order ---- */

static char sort_key;

static double key_of(const struct watched *watched)
{
    switch (sort_key) {
    case 'm': return watched->now.resident;
    case 'f': return watched->now.faults_a_second;
    case 'w': return watched->now.waited_percent;
    case 'i': return watched->now.images;
    case 'l': return watched->now.limit;
    default: return -(double)watched->process.id;
    }
}

/* The largest first; processes by number. */
static int compare(const void *a, const void *b)
{
    const struct watched *const *first = a;
    const struct watched *const *second = b;
    double difference = key_of(*second) - key_of(*first);

    if (difference != 0)
        return difference > 0 ? 1 : -1;
    return (*first)->process.id - (*second)->process.id;
}

bool watch_sort(struct watch *watch, char key)
{
    if (key == '\0' || strchr("pmfwil", key) == NULL)
        return false;
    sort_key = key;
    if (watch->n > 0)
        qsort(watch->all, watch->n, sizeof watch->all[0], compare);
    return true;
}

const struct sight *watch_before(const struct watched *watched, unsigned back)
{
    if (back >= watched->n_history || back >= WATCH_HISTORY)
        return NULL;
    return &watched->history[(watched->n_history - 1 - back) % WATCH_HISTORY];
}
