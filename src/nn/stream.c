#include "nn/stream.h"

#include "base/clock.h"

static bool streams(const SpNn *nn)
{
    return nn->weights && nn->plan.weights == SP_STREAMED;
}

/* Arena memory, not cleared, where ops of before may still be at work. */
static char *take(SpNn *nn, size_t bytes)
{
    return (char *)sp_nn_floats(nn, (int64_t)((bytes + sizeof(float) - 1) / sizeof(float)));
}

static void count_moved(SpNn *nn, size_t bytes)
{
    nn->moved_bytes += nn->dry ? nn->times * (double)bytes : (double)bytes;
}

static void fetch(SpNn *nn, int slot, int segment, char *memory)
{
    count_moved(nn, sp_weights_bytes(nn->weights, segment, 1));
    if (!sp_nn_live(nn))
        return;
    const double began = sp_clock();
    nn->device->release_slot(nn->device, slot);
    sp_weights_fetch(nn->weights, nn->device, slot, segment, memory);
    nn->moving_seconds += sp_clock() - began;
}

void sp_stream_bring(SpNn *nn, int slot, float *to, const float *from, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof *to;
    count_moved(nn, bytes);
    if (!sp_nn_live(nn))
        return;
    const double began = sp_clock();
    nn->device->release_slot(nn->device, slot);
    nn->device->prefetch(nn->device, slot, to, from, bytes);
    nn->moving_seconds += sp_clock() - began;
}

void sp_stream_wait(SpNn *nn, int slot)
{
    const double began = sp_clock();
    if (sp_nn_live(nn))
        nn->device->wait_slot(nn->device, slot);
    nn->moving_seconds += sp_clock() - began;
}

static void wait(SpNn *nn, SpStream *stream, int slot)
{
    if (stream->coming[slot])
        sp_stream_wait(nn, slot);
    stream->coming[slot] = false;
}

SpStream sp_stream_hold(SpNn *nn, int first, int count)
{
    SpStream stream = {.first = first, .count = count, .kept = true, .segment = {-1, -1}};
    if (!streams(nn))
        return stream;
    if (count == 0 || sp_weights_placed(nn->weights, first)) {
        stream.count = 0;
        return stream;
    }
    char *memory = take(nn, sp_weights_bytes(nn->weights, first, count));
    for (int i = first; i < first + count && nn->status.code == SP_OK; i++) {
        fetch(nn, 0, i, memory);
        sp_weights_place(nn->weights, i, memory);
        memory += sp_weights_bytes(nn->weights, i, 1);
    }
    stream.coming[0] = true;
    wait(nn, &stream, 0);
    return stream;
}

SpStream sp_stream_begin(SpNn *nn, int first, int count, bool again)
{
    if (!streams(nn) || count <= 1 || sp_weights_placed(nn->weights, first) ||
        (again && nn->plan.whole_repeats))
        return sp_stream_hold(nn, first, count);
    SpStream stream = {.first = first, .count = count, .again = again, .segment = {-1, -1}};
    const size_t bytes = sp_weights_largest(nn->weights, first, count);
    for (int slot = 0; slot < SP_PREFETCH_SLOTS; slot++)
        stream.memory[slot] = take(nn, bytes);
    return stream;
}

/* Begins to bring `segment` into a slot, whose segment leaves. */
static void bring(SpNn *nn, SpStream *stream, int slot, int segment)
{
    wait(nn, stream, slot);
    if (stream->segment[slot] >= 0)
        sp_weights_place(nn->weights, stream->segment[slot], NULL);
    fetch(nn, slot, segment, stream->memory[slot]);
    stream->segment[slot] = segment;
    stream->coming[slot] = true;
}

void sp_stream_use(SpNn *nn, SpStream *stream, int segment)
{
    if (stream->kept || nn->status.code != SP_OK)
        return;
    const bool last = segment + 1 == stream->first + stream->count;
    const int next = !last ? segment + 1 : stream->again ? stream->first : -1;
    const int slot = stream->segment[1] == segment;
    if (stream->segment[slot] != segment)
        bring(nn, stream, slot, segment);
    wait(nn, stream, slot);
    sp_weights_place(nn->weights, segment, stream->memory[slot]);
    if (next >= 0 && stream->segment[!slot] != next)
        bring(nn, stream, !slot, next);
    /* What is only on its way must not be read, nor what was read before. */
    if (stream->segment[!slot] >= 0)
        sp_weights_place(nn->weights, stream->segment[!slot], NULL);
}

void sp_stream_end(SpNn *nn, SpStream *stream)
{
    if (!streams(nn))
        return;
    for (int slot = 0; slot < SP_PREFETCH_SLOTS; slot++)
        wait(nn, stream, slot);
    for (int i = stream->first; i < stream->first + stream->count; i++)
        sp_weights_place(nn->weights, i, NULL);
}
