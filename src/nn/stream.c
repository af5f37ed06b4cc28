#include "nn/stream.h"

#include "base/clock.h"

static bool streams(const SpNn *nn)
{
    return nn->weights && nn->plan.weights == SP_STREAMED;
}

/* Arena memory, not cleared, which ops issued before may still use. */
static char *alloc(SpNn *nn, size_t bytes)
{
    return (char *)sp_nn_alloc(nn, (int64_t)((bytes + sizeof(float) - 1) / sizeof(float)));
}

static void count_moved(SpNn *nn, size_t bytes)
{
    nn->moved_bytes += nn->dry ? nn->times * (double)bytes : (double)bytes;
}

static void prefetch_group(SpNn *nn, int slot, int group, char *memory)
{
    count_moved(nn, sp_weights_bytes(nn->weights, group, 1));
    if (!sp_nn_live(nn))
        return;
    const double start = sp_clock();
    nn->device->release_slot(nn->device, slot);
    sp_weights_prefetch(nn->weights, nn->device, slot, group, memory);
    nn->moving_seconds += sp_clock() - start;
}

void sp_stream_prefetch(SpNn *nn, int slot, float *to, const float *from, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof *to;
    count_moved(nn, bytes);
    if (!sp_nn_live(nn))
        return;
    const double start = sp_clock();
    nn->device->release_slot(nn->device, slot);
    nn->device->prefetch(nn->device, slot, to, from, bytes);
    nn->moving_seconds += sp_clock() - start;
}

void sp_stream_wait(SpNn *nn, int slot)
{
    const double start = sp_clock();
    if (sp_nn_live(nn))
        nn->device->wait_slot(nn->device, slot);
    nn->moving_seconds += sp_clock() - start;
}

static void wait(SpNn *nn, SpStream *stream, int slot)
{
    if (stream->in_flight[slot])
        sp_stream_wait(nn, slot);
    stream->in_flight[slot] = false;
}

SpStream sp_stream_load(SpNn *nn, int first, int count)
{
    const bool load = streams(nn) && count > 0 && !sp_weights_is_resident(nn->weights, first);
    SpStream stream = {first, load ? count : 0, .resident = true, .group = {-1, -1}};
    if (!load)
        return stream;
    char *memory = alloc(nn, sp_weights_bytes(nn->weights, first, count));
    for (int i = first; i < first + count && nn->status.code == SP_OK; i++) {
        prefetch_group(nn, 0, i, memory);
        sp_weights_set_address(nn->weights, i, memory);
        memory += sp_weights_bytes(nn->weights, i, 1);
    }
    sp_stream_wait(nn, 0);
    return stream;
}

SpStream sp_stream_begin(SpNn *nn, int first, int count, bool loops)
{
    if (!streams(nn) || count <= 1 || sp_weights_is_resident(nn->weights, first) ||
        (loops && nn->plan.keep_loop_weights))
        return sp_stream_load(nn, first, count);
    SpStream stream = {.first = first, .count = count, .loops = loops, .group = {-1, -1}};
    size_t bytes = 0;
    for (int i = first; i < first + count; i++) {
        const size_t one = sp_weights_bytes(nn->weights, i, 1);
        bytes = one > bytes ? one : bytes;
    }
    for (int slot = 0; slot < SP_PREFETCH_SLOTS; slot++)
        stream.memory[slot] = alloc(nn, bytes);
    return stream;
}

/* Starts to copy `group` to a slot, whose group is released. */
static void prefetch(SpNn *nn, SpStream *stream, int slot, int group)
{
    wait(nn, stream, slot);
    if (stream->group[slot] >= 0)
        sp_weights_set_address(nn->weights, stream->group[slot], NULL);
    prefetch_group(nn, slot, group, stream->memory[slot]);
    stream->group[slot] = group;
    stream->in_flight[slot] = true;
}

void sp_stream_use(SpNn *nn, SpStream *stream, int group)
{
    if (stream->resident || nn->status.code != SP_OK)
        return;
    const bool last = group + 1 == stream->first + stream->count;
    const int next = !last ? group + 1 : stream->loops ? stream->first : -1;
    const int slot = stream->group[1] == group;
    if (stream->group[slot] != group)
        prefetch(nn, stream, slot, group);
    wait(nn, stream, slot);
    sp_weights_set_address(nn->weights, group, stream->memory[slot]);
    if (next >= 0 && stream->group[!slot] != next)
        prefetch(nn, stream, !slot, next);
    /* What is still in flight must not be read, nor the group before. */
    if (stream->group[!slot] >= 0)
        sp_weights_set_address(nn->weights, stream->group[!slot], NULL);
}

void sp_stream_end(SpNn *nn, SpStream *stream)
{
    for (int slot = 0; slot < SP_PREFETCH_SLOTS; slot++)
        wait(nn, stream, slot);
    for (int i = stream->first; i < stream->first + stream->count; i++)
        sp_weights_set_address(nn->weights, i, NULL);
}
