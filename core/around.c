/* around.c - see around.h. */
#include "core/around.h"

/* What a sum is in: a fault is 16. A page in vain costs two thirds of one, with what it pushes out. */
#define FAULT 16
#define AROUND_COST 10
/* The sums follow the last 64 cases or so. Below 16 nothing is known. */
#define MEMORY 64
#define LEAST_KNOWN 16u
/* A way has to save an eighth of a fault each time. */
#define LEAST_GAIN (MEMORY * FAULT / 8)
/* Of the limit, pages that have come in and not been asked for again: see reclaim.h. */
#define FRESH_SHARE 10
#define LEAST_LIFE 64

static void follow_limit(struct around *around, size_t limit_pages)
{
    around->life_faults = (uint32_t)max_size(LEAST_LIFE, min_size(limit_pages / FRESH_SHARE, UINT32_MAX / 2));
}

void around_init(struct around *around, size_t limit_pages)
{
    *around = (struct around){.best_n = 1};
    follow_limit(around, limit_pages);
}

void around_resize(struct around *around, size_t limit_pages)
{
    follow_limit(around, limit_pages);
}

static void add(int32_t *sum, int32_t gain)
{
    *sum += gain - *sum / MEMORY;
}

static void consider(struct around *around, int32_t sum, int32_t *most, int32_t step, uint32_t n)
{
    if (sum <= *most)
        return;
    *most = sum;
    around->best_step = step;
    around->best_n = n;
}

static void choose(struct around *around)
{
    int32_t most = LEAST_GAIN;

    around->best_step = 0;
    around->best_n = 1;
    if (around->n_known < LEAST_KNOWN)
        return;
    for (unsigned i = 0; i < AROUND_RUNS; i++) {
        consider(around, around->runs[0][i], &most, 1, 2u << i);
        consider(around, around->runs[1][i], &most, -1, 2u << i);
    }
    for (unsigned i = 0; i < AROUND_GROUPS; i++)
        consider(around, around->groups[i], &most, 0, 2u << i);
}

/* Faults that a stream of @n pages takes whose first run is @window; @brought: the pages that come. */
static int32_t faults_of(uint32_t n, uint32_t window, uint32_t *brought)
{
    int32_t n_faults = 1;

    *brought = window;
    while (*brought < n) {
        window = (uint32_t)min_size(2 * (size_t)window, 2u << (AROUND_RUNS - 1));
        *brought += window;
        n_faults++;
    }
    return n_faults;
}

static void add_run(int32_t *sums, uint32_t n)
{
    uint32_t brought;
    int32_t n_faults = faults_of(n, 1, &brought);

    for (unsigned i = 0; i < AROUND_RUNS; i++) {
        uint32_t more;
        int32_t saved = n_faults - faults_of(n, 2u << i, &more);

        add(&sums[i], saved * FAULT - ((int32_t)more - (int32_t)brought) * AROUND_COST);
    }
}

void around_stream_ended(struct around *around, int32_t step, uint32_t n)
{
    add_run(around->runs[0], step > 0 ? n : 1);
    add_run(around->runs[1], step > 0 ? 1 : n);
    around->n_known = (uint32_t)min_size(around->n_known + 1, MEMORY);
    choose(around);
}

/* The pages of a group of @n in which @place is, from there to that end of it that is farther. */
static struct ahead rest_of_group(uint32_t place, uint32_t n)
{
    uint32_t at = place % n;

    return at < n / 2 ? (struct ahead){.step = 1, .n = n - at} : (struct ahead){.step = -1, .n = at + 1};
}

static void add_groups(struct around *around, const struct around_episode *episode)
{
    for (unsigned i = 0; i < AROUND_GROUPS; i++) {
        struct ahead rest = rest_of_group(episode->first, 2u << i);
        uint32_t lowest = rest.step > 0 ? episode->first : episode->first + 1 - rest.n;
        uint32_t mask = ((1u << rest.n) - 1) << lowest & ~(1u << episode->first);
        int32_t saved = __builtin_popcount(episode->seen & mask);
        int32_t vain = (int32_t)rest.n - 1 - saved;

        add(&around->groups[i], saved * FAULT - vain * AROUND_COST);
    }
}

void around_fault(struct around *around, page_number number)
{
    uint32_t group = number / AROUND_GROUP;
    uint32_t place = number % AROUND_GROUP;
    struct around_episode *episode = &around->episodes[group % AROUND_EPISODES];

    around->n_faults++;
    if (!around_samples(number))
        return;
    if (episode->group == group + 1 && around->n_faults - episode->since < around->life_faults) {
        episode->seen |= 1u << place;
        return;
    }
    if (episode->group != 0)
        add_groups(around, episode);
    *episode = (struct around_episode){.group = group + 1, .since = around->n_faults, .first = place, .seen = 1u << place};
}

struct ahead around_start(const struct around *around, page_number number, uint32_t most)
{
    struct ahead ahead = {.step = around->best_step, .n = around->best_n};

    if (ahead.n > 1 && ahead.step == 0)
        ahead = rest_of_group(number % AROUND_GROUP, ahead.n);
    ahead.n = (uint32_t)min_size(ahead.n, most);
    return ahead.n > 1 ? ahead : (struct ahead){.n = 1};
}
