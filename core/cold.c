/* cold.c - see cold.h. */
#include "core/cold.h"

#include "core/teach.h"
#include "platform/thread.h"

#include <string.h>

#define NS_PER_MS ((uint64_t)1000 * 1000)
/* Patience: a second at first; where thaws cost too much, up to a quarter of an hour. */
#define PATIENCE_MIN 4u
#define PATIENCE_MAX 4096u
/* A page that has come back this often waits 2, 4, 8 ... times as long. */
#define MAX_RETURNS 7u
/* A page that has come back more often than this does not keep its squeezed image: reading it once more costs as much as another one. */
#define OFTEN 2u
/* Images of a window, and the part by which they must shrink. */
#define WINDOW_IMAGES 512u
#define GAIN_SHARE 8u
#define BACKOFF_MIN_NS (10 * 1000 * NS_PER_MS)
#define BACKOFF_MAX_NS (600 * 1000 * NS_PER_MS)
/* Parts of a processor. */
#define SHARE_IDLE 8u
#define SHARE_BUSY 32u
/* Thaws from this tier may cost such a part of the time more than from the other; below a quarter of that, patience shrinks. */
#define THAW_SHARE 64u
#define LOOK_NS (1000 * NS_PER_MS)
/* After so many looks it is half forgotten how often pages have come back. */
#define FORGET_LOOKS 16u
/* The memory of this tier pays when there is so many times as much to be squeezed. */
#define WORTH 4u
/* Training does when all images are so many times as large as its samples. */
#define MUCH 2u
/* The longest sleep while images grow old: their ages are told by the clock that this thread moves. */
#define MAX_SLEEP_MS 1000
/* Training: images that go by before the second one, and how much less the next dictionary must need than the one before. */
#define TEACH_AFTER 16384u
#define BETTER_SHARE 16u
#define WORSE_SHARE 32u
#define SAMPLE_ONE_IN 4u
/* One image in so many is timed. */
#define TIME_ONE_IN 8u

void cold_init(struct cold *cold, struct store *store, enum squeeze_way way, int level, struct os_event *served)
{
    *cold = (struct cold){
        .store = store,
        .served = served,
        .serial = 1,
        .current = -1,
        .retiring = -1,
        .patience = PATIENCE_MIN,
        .threshold = PATIENCE_MIN,
        .backoff_ns = BACKOFF_MIN_NS,
        .random = 88172645463325252u,
    };
    squeezer_init(&cold->squeezer, way, level);
}

static void add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* ---- with pager.lock held ---- */

/* Knuth's multiplicative hash. */
static unsigned slot_of(page_number number)
{
    return (unsigned)(number * 2654435761u) >> 20;
}
_Static_assert(COLD_RETURNS == 1u << (32 - 20), "a slot for each hash");

static unsigned returns_of(const struct cold *cold, unsigned slot)
{
    return atomic_load_explicit(&cold->returns[slot], memory_order_relaxed);
}

static void set_returns(struct cold *cold, unsigned slot, size_t returns)
{
    atomic_store_explicit(&cold->returns[slot], (uint8_t)returns, memory_order_relaxed);
}

void cold_note_thaw(struct cold *cold, page_number number)
{
    unsigned slot = slot_of(number);

    set_returns(cold, slot, min_size(returns_of(cold, slot) + 1u, MAX_RETURNS));
    add(&cold->counters.thaws, 1);
}

bool cold_comes_back(const struct cold *cold, page_number number)
{
    return returns_of(cold, slot_of(number)) > OFTEN;
}

uint32_t cold_age_wanted(const struct cold *cold, page_number number)
{
    return cold->threshold << returns_of(cold, slot_of(number));
}

/* ---- squeezing ---- */

int cold_open(struct cold *cold)
{
    int error = cold->squeezer.memory == NULL ? squeezer_open(&cold->squeezer) : 0;

    if (error == 0 && cold->batch == NULL)
        error = os_mem_map(round_up(sizeof *cold->batch, PAGE_BYTES), (void **)&cold->batch);
    return error;
}

static const struct dictionary *current_dictionary(const struct cold *cold)
{
    return cold->current >= 0 ? &cold->store->dictionaries[cold->current] : NULL;
}

static unsigned current_kind(const struct cold *cold)
{
    if (cold->squeezer.way == SQUEEZE_LZ4)
        return IMAGE_DENSE;
    return cold->current >= 0 ? IMAGE_TAUGHT + (unsigned)cold->current : IMAGE_BARE;
}

static int read_image(struct cold *cold, const unsigned char *data, size_t bytes, unsigned kind, void *page)
{
    struct pool_image image = {.data = data, .bytes = bytes, .kind = kind};

    return store_decode(cold->store->dictionaries, &cold->batch->reader, &image, page);
}

/* Once in a while: what reading this image takes more than what it was made from. */
static void time_reading(struct cold *cold, uint64_t fast_ns, uint64_t slow_ns)
{
    uint64_t more_ns = slow_ns > fast_ns ? slow_ns - fast_ns : 0;

    cold->slow_ns = cold->slow_ns == 0 ? more_ns : (cold->slow_ns * 15 + more_ns) / 16;
}

static uint64_t draw(struct cold *cold)
{
    cold->random ^= cold->random << 13;
    cold->random ^= cold->random >> 7;
    cold->random ^= cold->random << 17;
    return cold->random >> 8;
}

/* Is a dictionary to be trained, as soon as there are samples? */
static bool wants_samples(const struct cold *cold)
{
    uint64_t bytes = atomic_load_explicit(&cold->store->pool.used_bytes, memory_order_relaxed);

    return cold->squeezer.way == SQUEEZE_ZSTD && cold->n_seen >= cold->teach_after && bytes >= MUCH * sizeof(struct cold_samples);
}

static void take_sample(struct cold *cold, page_number number)
{
    struct cold_samples *samples = cold->samples;

    if (!wants_samples(cold) || draw(cold) % SAMPLE_ONE_IN != 0)
        return;
    if (samples == NULL && os_mem_map(round_up(sizeof *samples, PAGE_BYTES), (void **)&samples) != 0)
        return;
    cold->samples = samples;
    if (samples->n == COLD_SAMPLES)
        return;
    memcpy(samples->pages[samples->n], cold->batch->page, PAGE_BYTES);
    samples->numbers[samples->n++] = number;
}

/* True: the image in batch->squeezed[@i] is an eighth smaller than the one it was made from, and has been read back. */
static bool squeeze_one(struct cold *cold, size_t i)
{
    struct cold_batch *batch = cold->batch;
    struct cold_record *record = &batch->records[i];
    bool timed = i % TIME_ONE_IN == 0;
    uint64_t began_ns = timed ? os_thread_cpu_ns() : 0;
    uint64_t fast_ns;
    size_t bytes;

    if (read_image(cold, batch->images[i], record->bytes, record->kind, batch->page) != 0)
        return false; /* whoever thaws it will find out */
    fast_ns = timed ? os_thread_cpu_ns() - began_ns : 0;
    bytes = squeeze_put(&cold->squeezer, current_dictionary(cold), batch->page, batch->squeezed[i]);
    if (!record->is_private && bytes > 0)
        take_sample(cold, record->number);
    cold->window_before += pool_units(record->bytes);
    if (bytes == 0 || pool_units(bytes) > pool_units(record->bytes) - pool_units(record->bytes) / GAIN_SHARE ||
        pool_units(bytes) == pool_units(record->bytes)) {
        cold->window_after += pool_units(record->bytes);
        add(&cold->counters.refused, 1);
        return false;
    }
    cold->window_after += pool_units(bytes);
    began_ns = timed ? os_thread_cpu_ns() : 0;
    if (read_image(cold, batch->squeezed[i], bytes, current_kind(cold), batch->back) != 0 ||
        memcmp(batch->page, batch->back, PAGE_BYTES) != 0) {
        add(&cold->counters.failures, 1);
        return false;
    }
    if (timed && !image_is_slow(record->kind))
        time_reading(cold, fast_ns, os_thread_cpu_ns() - began_ns);
    record->squeezed_bytes = (uint16_t)bytes;
    record->squeezed_kind = (uint8_t)current_kind(cold);
    return true;
}

void cold_squeeze(struct cold *cold)
{
    struct cold_batch *batch = cold->batch;

    for (size_t i = 0; i < batch->n; i++) {
        batch->records[i].squeezed_bytes = 0;
        cold->n_window++;
        cold->n_seen++;
        (void)squeeze_one(cold, i);
    }
}

/* A window is full: has it paid? */
static void judge_window(struct cold *cold)
{
    bool pays;

    if (cold->n_window < WINDOW_IMAGES)
        return;
    pays = (cold->window_before - cold->window_after) * GAIN_SHARE >= cold->window_before;
    cold->n_window = 0;
    cold->window_before = cold->window_after = 0;
    if (pays) {
        cold->backoff_ns = BACKOFF_MIN_NS;
        return;
    }
    add(&cold->counters.pauses, 1);
    cold->not_before_ns = os_now_ns() + cold->backoff_ns;
    cold->backoff_ns = cold->backoff_ns * 2 < BACKOFF_MAX_NS ? cold->backoff_ns * 2 : BACKOFF_MAX_NS;
}

/* ---- dictionaries ---- */

/* Units that the pages that were held out take. */
static uint64_t cost_of(struct cold *cold, const struct dictionary *dictionary)
{
    uint64_t units = 0;

    for (size_t i = cold->samples->n - COLD_HELD_OUT; i < cold->samples->n; i++) {
        size_t bytes = squeeze_put(&cold->squeezer, dictionary, cold->samples->pages[i], cold->batch->back);

        units += bytes > 0 ? pool_units(bytes) : POOL_MAX_UNITS;
    }
    return units;
}

/* The first one makes squeezing faster, if not better. */
static bool is_better(struct cold *cold)
{
    uint64_t before = cost_of(cold, current_dictionary(cold));
    uint64_t after = cost_of(cold, &cold->fresh);

    return cold->current < 0 ? after <= before + before / WORSE_SHARE : after <= before - before / BETTER_SHARE;
}

/* Pointers are cleared before what they lead to: a fork's child looks at them, whenever it was made. */
static void forget_training(struct cold *cold, size_t bytes)
{
    void *memory = cold->training;

    cold->training = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    if (memory != NULL)
        os_mem_unmap(memory, bytes);
}

static void forget_samples(struct cold *cold)
{
    struct cold_samples *samples = cold->samples;

    cold->samples = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    if (samples != NULL)
        os_mem_unmap(samples, round_up(sizeof *samples, PAGE_BYTES));
}

static bool train(struct cold *cold)
{
    struct cold_samples *samples = cold->samples;
    size_t n_shown = samples->n - COLD_HELD_OUT;
    size_t memory_bytes = round_up(TEACH_MEMORY_BYTES(COLD_SAMPLES), PAGE_BYTES);
    void *memory;
    size_t bytes;

    if (os_mem_map(memory_bytes, &memory) != 0)
        return false;
    cold->training = memory;
    bytes = teach(samples->dictionary, sizeof samples->dictionary, samples->pages, n_shown, cold->squeezer.level, memory, memory_bytes);
    forget_training(cold, memory_bytes);
    return bytes > 0 && dictionary_make(&cold->fresh, samples->dictionary, bytes, cold->squeezer.level) == 0;
}

bool cold_teach(struct cold *cold)
{
    bool is_made = train(cold);

    if (is_made && is_better(cold))
        return true;
    if (is_made)
        dictionary_drop(&cold->fresh);
    return false;
}

/* @taken: it was better. Samples are collected again when as many images as that has cost have gone by. */
static void end_teaching(struct cold *cold, bool taken)
{
    if (!taken)
        add(&cold->counters.dictionaries_refused, 1);
    forget_samples(cold);
    cold->n_seen = 0;
    cold->teach_after = cold->teach_after == 0 ? TEACH_AFTER : cold->teach_after * (taken ? 2 : 4);
}

/* ---- the cold thread ---- */

static int turn_of(struct cold *cold)
{
    return atomic_load_explicit(&cold->turn, memory_order_acquire);
}

/* The other thread's part, and back. */
static void hand_over(struct cold *cold, enum cold_turn turn)
{
    atomic_store_explicit(&cold->turn, turn, memory_order_release);
    os_event_signal(cold->served);
    for (;;) {
        uint32_t ticket = os_event_ticket(&cold->wanted);

        if (turn_of(cold) == COLD_OURS)
            return;
        os_event_wait(&cold->wanted, ticket, -1);
    }
}

static void teach_if_due(struct cold *cold)
{
    bool taken;

    if (cold->samples == NULL ||
        (cold->samples->n < COLD_SAMPLES && !(cold->passed && cold->previous_oldest == 0 && cold->samples->n >= 2 * COLD_HELD_OUT)))
        return;
    taken = cold_teach(cold);
    if (taken) {
        hand_over(cold, COLD_INSTALL);
        taken = cold->fresh.content == NULL;
        if (!taken)
            dictionary_drop(&cold->fresh);
    }
    end_teaching(cold, taken);
}

/* What thaws cost, and how busy the process is. */
static void look_around(struct cold *cold, uint64_t now_ns)
{
    uint64_t span_ns = now_ns - cold->looked_ns;
    uint64_t process_ns;
    uint64_t cpu_ns;
    uint64_t thaws;
    uint64_t cost_ns;

    if (span_ns < LOOK_NS)
        return;
    process_ns = os_process_cpu_ns();
    cpu_ns = os_thread_cpu_ns();
    thaws = __atomic_load_n(&cold->counters.thaws, __ATOMIC_RELAXED);
    cost_ns = (thaws - cold->looked_thaws) * cold->slow_ns;
    cold->process_is_busy = (process_ns - cold->looked_process_ns) - (cpu_ns - cold->looked_cpu_ns) > span_ns / 2;
    if (cold->looked_ns != 0 && cost_ns > span_ns / THAW_SHARE && cold->patience < PATIENCE_MAX)
        cold->patience *= 2;
    else if (cost_ns < span_ns / THAW_SHARE / 4 && cold->patience > PATIENCE_MIN)
        cold->patience /= 2;
    if (++cold->n_looks % FORGET_LOOKS == 0)
        for (unsigned slot = 0; slot < COLD_RETURNS; slot++)
            set_returns(cold, slot, returns_of(cold, slot) / 2);
    cold->looked_ns = now_ns;
    cold->looked_process_ns = process_ns;
    cold->looked_cpu_ns = cpu_ns;
    cold->looked_thaws = thaws;
}

static bool is_worth_it(const struct cold *cold)
{
    uint64_t bytes = atomic_load_explicit(&cold->store->pool.bytes_of_kind[IMAGE_FAST], memory_order_relaxed);
    size_t needed = sizeof(struct cold_batch) + squeezer_bytes(&cold->squeezer);

    return bytes >= (cold->batch != NULL ? 1 : WORTH * needed); /* what is there is there */
}

/* Until there are new images. @n_new: those that are known. */
static void rest(struct cold *cold, uint32_t n_new)
{
    for (;;) {
        uint32_t ticket = os_event_ticket(&cold->wanted);

        atomic_store(&cold->resting, true);
        if (atomic_load(&cold->n_new) != n_new)
            break;
        os_event_wait(&cold->wanted, ticket, -1);
    }
    atomic_store(&cold->resting, false);
}

/* The clock's ticks go by also while this thread waits for a processor: what counts is the time. */
static uint64_t move_clock(struct cold *cold)
{
    uint64_t now_ns = os_now_ns();

    atomic_store_explicit(&cold->clock, (uint32_t)(now_ns / NS_PER_MS / COLD_TICK_MS) & PAGE_NONE, memory_order_relaxed);
    return now_ns;
}

static void sleep_ms(struct cold *cold, uint64_t ms)
{
    uint64_t end_ns = os_now_ns() + ms * NS_PER_MS;

    for (uint64_t now_ns = move_clock(cold); now_ns < end_ns; now_ns = move_clock(cold)) {
        uint64_t left_ms = (end_ns - now_ns) / NS_PER_MS + 1;

        os_sleep_ms((unsigned)(left_ms < MAX_SLEEP_MS ? left_ms : MAX_SLEEP_MS));
    }
}

static void pay_debt(struct cold *cold, uint64_t began_cpu_ns)
{
    uint64_t cpu_ns = os_thread_cpu_ns();
    uint64_t used_ns = cpu_ns - began_cpu_ns + cold->gathered_ns;

    __atomic_store_n(&cold->counters.cpu_ns, cpu_ns, __ATOMIC_RELAXED);

    cold->debt_ns += used_ns * ((cold->process_is_busy ? SHARE_BUSY : SHARE_IDLE) - 1);
    if (cold->debt_ns < NS_PER_MS)
        return;
    sleep_ms(cold, cold->debt_ns / NS_PER_MS);
    cold->debt_ns %= NS_PER_MS;
}

/* One turn, and the sleep after it. */
static void work(struct cold *cold)
{
    uint32_t n_new = atomic_load(&cold->n_new);
    uint64_t now_ns = move_clock(cold);
    uint64_t began_cpu_ns = os_thread_cpu_ns();

    look_around(cold, now_ns);
    if (now_ns < cold->not_before_ns) {
        sleep_ms(cold, (cold->not_before_ns - now_ns) / NS_PER_MS + 1);
        return;
    }
    if (!is_worth_it(cold) || cold_open(cold) != 0) {
        sleep_ms(cold, MAX_SLEEP_MS);
        rest(cold, n_new);
        return;
    }
    hand_over(cold, COLD_GATHER);
    if (cold->batch->n > 0) {
        cold_squeeze(cold);
        hand_over(cold, COLD_SETTLE);
        judge_window(cold);
    }
    teach_if_due(cold);
    pay_debt(cold, began_cpu_ns);
    if (!cold->passed || cold->batch->n > 0)
        return;
    if (cold->previous_oldest == 0)
        rest(cold, n_new);
    else
        sleep_ms(cold, MAX_SLEEP_MS);
}

void cold_background(struct cold *cold)
{
    for (;;)
        work(cold);
}

void cold_fork_child(struct cold *cold)
{
    /* The parent's thread may have been anywhere: contexts and samples are made anew, and a dictionary on its way in is let go. */
    if (cold->batch != NULL) {
        cold->batch->n = 0;
        cold->batch->is_out = false;
        cold->batch->reader.context = NULL;
    }
    forget_training(cold, round_up(TEACH_MEMORY_BYTES(COLD_SAMPLES), PAGE_BYTES));
    forget_samples(cold);
    squeezer_close(&cold->squeezer);
    dictionary_drop(&cold->fresh);
    cold->wanted = (struct os_event){0};
    atomic_store(&cold->turn, COLD_OURS);
    atomic_store(&cold->resting, false);
    cold->debt_ns = 0;
    cold->looked_ns = cold->looked_process_ns = cold->looked_cpu_ns = 0;
}

size_t cold_meta_bytes(const struct cold *cold)
{
    size_t bytes = cold->batch != NULL ? sizeof *cold->batch : 0;

    for (unsigned i = 0; i < SQUEEZE_DICTIONARIES; i++)
        bytes += cold->store != NULL ? cold->store->dictionaries[i].mapped_bytes : 0;
    return bytes + cold->squeezer.bytes * (cold->squeezer.memory != NULL) + (cold->samples != NULL ? sizeof *cold->samples : 0);
}
