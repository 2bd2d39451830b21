/* stream.c - see stream.h. */
#include "core/stream.h"

#include "platform/thread.h"

/* Above this many frames a page is older than any thread's turn before it becomes a victim. */
#define PROTECT_BELOW_PAGES 1024
/* A thread that was not scheduled for so long loses its turn and faults once more. */
#define PROTECT_NS ((uint64_t)20 * 1000 * 1000)
#define STRUGGLE_FAULTS 8

static void stream_begin(struct stream *stream, uint32_t thread)
{
    *stream = (struct stream){.thread = thread, .expected = PAGE_NONE};
    for (unsigned i = 0; i < STREAM_RECENT; i++)
        stream->recent[i] = PAGE_NONE;
}

void streams_init(struct streams *streams, size_t limit_pages)
{
    *streams = (struct streams){
        /* A sixteenth of the limit, so that read-ahead cannot push out what it serves. */
        .max_window = (uint32_t)max_size(1, min_size(STREAM_MAX_WINDOW, limit_pages / 16)),
        .protecting = limit_pages < PROTECT_BELOW_PAGES,
    };
    for (size_t i = 0; i < STREAM_COUNT; i++)
        stream_begin(&streams->streams[i], 0);
}

/* Threads that share an entry take it from each other: a little less read-ahead, a little less protection. */
static struct stream *stream_of(struct streams *streams, uint32_t thread)
{
    return &streams->streams[thread % STREAM_COUNT];
}

static void remember(struct stream *stream, page_number number)
{
    for (unsigned i = 0; i < STREAM_RECENT; i++)
        if (stream->recent[i] == number)
            stream->n_struggles = STRUGGLE_FAULTS + 1;
    if (stream->n_struggles > 0)
        stream->n_struggles--;
    stream->next_recent = (stream->next_recent + 1) % STREAM_RECENT;
    stream->recent[stream->next_recent] = number;
    stream->used_ns = os_now_ns();
}

uint32_t streams_fault(struct streams *streams, uint32_t thread, page_number number)
{
    struct stream *stream = stream_of(streams, thread);

    if (stream->thread != thread)
        stream_begin(stream, thread);
    if (streams->protecting)
        remember(stream, number);
    stream->window = number == stream->expected ? stream->window * 2 : 1;
    if (stream->window > streams->max_window)
        stream->window = streams->max_window;
    return streams->paused ? 1 : stream->window;
}

void streams_ran_to(struct streams *streams, uint32_t thread, page_number end)
{
    stream_of(streams, thread)->expected = end;
}

bool streams_protect(const struct streams *streams, page_number number, uint64_t now_ns)
{
    if (!streams->protecting)
        return false;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        const struct stream *stream = &streams->streams[i];

        if (stream->used_ns + PROTECT_NS < now_ns)
            continue;
        if (stream->recent[stream->next_recent] == number)
            return true;
        for (unsigned k = 0; stream->n_struggles > 0 && k < STREAM_RECENT; k++)
            if (stream->recent[k] == number)
                return true;
    }
    return false;
}
