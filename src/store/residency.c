#include "store/residency.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct Range {
    const char *data;
    size_t bytes, offset; /* in its segment */
    int segment;
} Range;

typedef struct Segment {
    size_t bytes; /* on a device */
    char *memory; /* where it is now, NULL: nowhere */
} Segment;

struct SpWeights {
    Range *range;
    int *order; /* of the ranges by address */
    int ranges, range_room, order_room;
    Segment *segment;
    int segments, segment_room, current;
    char *loaded; /* the memory of sp_weights_load */
    size_t loaded_bytes;
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Room for one element more. */
static bool grow(void **array, int count, int *room, size_t size)
{
    if (count < *room)
        return true;
    const int larger = *room ? 2 * *room : 64;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

SpWeights *sp_weights_new(void)
{
    SpWeights *weights = calloc(1, sizeof *weights);
    if (weights && sp_weights_begin(weights) == SP_HOST_SEGMENT)
        return weights;
    sp_weights_free(weights);
    return NULL;
}

void sp_weights_free(SpWeights *weights)
{
    if (!weights)
        return;
    free(weights->range);
    free(weights->order);
    free(weights->segment);
    free(weights);
}

int sp_weights_begin(SpWeights *weights)
{
    void *segments = weights->segment;
    if (!grow(&segments, weights->segments, &weights->segment_room, sizeof *weights->segment))
        return -1;
    weights->segment = segments;
    weights->segment[weights->segments] = (Segment){0};
    return weights->current = weights->segments++;
}

void sp_weights_select(SpWeights *weights, int segment)
{
    weights->current = segment;
}

/* How many ranges begin at or before `data`. */
static int ranges_before(const SpWeights *weights, const void *data)
{
    int least = 0, most = weights->ranges;
    while (least < most) {
        const int middle = (least + most) / 2;
        if ((uintptr_t)weights->range[weights->order[middle]].data <= (uintptr_t)data)
            least = middle + 1;
        else
            most = middle;
    }
    return least;
}

/* The range that holds `data`, or NULL. */
static Range *range_of(const SpWeights *weights, const void *data)
{
    const int before = ranges_before(weights, data);
    Range *range = before ? &weights->range[weights->order[before - 1]] : NULL;
    return range && (uintptr_t)data - (uintptr_t)range->data < range->bytes ? range : NULL;
}

static void join(SpWeights *weights, Range *range)
{
    Segment *segment = &weights->segment[weights->current];
    range->segment = weights->current;
    range->offset = segment->bytes;
    segment->bytes += aligned(range->bytes);
}

/* Whether `data` is listed. What the host reads may turn out to be the ops' as well. */
static bool already(SpWeights *weights, const void *data)
{
    Range *range = range_of(weights, data);
    if (range && range->segment == SP_HOST_SEGMENT && weights->current != SP_HOST_SEGMENT)
        join(weights, range);
    return range;
}

bool sp_weights_add(SpWeights *weights, const void *data, size_t bytes)
{
    void *ranges = weights->range, *order = weights->order;
    if (bytes == 0 || already(weights, data))
        return true;
    if (!grow(&ranges, weights->ranges, &weights->range_room, sizeof *weights->range))
        return false;
    weights->range = ranges;
    if (!grow(&order, weights->ranges, &weights->order_room, sizeof *weights->order))
        return false;
    weights->order = order;
    const int at = ranges_before(weights, data);
    memmove(weights->order + at + 1, weights->order + at,
            (size_t)(weights->ranges - at) * sizeof *weights->order);
    weights->order[at] = weights->ranges;
    weights->range[weights->ranges] = (Range){.data = data, .bytes = bytes};
    join(weights, &weights->range[weights->ranges++]);
    return true;
}

int sp_weights_segments(const SpWeights *weights)
{
    return weights->segments;
}

size_t sp_weights_bytes(const SpWeights *weights, int first, int count)
{
    size_t bytes = 0;
    for (int i = first; i < first + count; i++)
        bytes += weights->segment[i].bytes;
    return bytes;
}

size_t sp_weights_largest(const SpWeights *weights, int first, int count)
{
    size_t most = 0;
    for (int i = first; i < first + count; i++)
        most = weights->segment[i].bytes > most ? weights->segment[i].bytes : most;
    return most;
}

size_t sp_weights_file_bytes(const SpWeights *weights)
{
    size_t bytes = 0;
    for (int i = 0; i < weights->ranges; i++)
        bytes += weights->range[i].segment == SP_HOST_SEGMENT ? 0 : weights->range[i].bytes;
    return bytes;
}

void sp_weights_fetch(SpWeights *weights, SpDevice *device, int slot, int segment, void *memory)
{
    for (int i = 0; i < weights->ranges; i++) {
        const Range *range = &weights->range[i];
        if (range->segment == segment)
            device->prefetch(device, slot, (char *)memory + range->offset, range->data,
                             range->bytes);
    }
}

void sp_weights_place(SpWeights *weights, int segment, void *memory)
{
    weights->segment[segment].memory = memory;
}

bool sp_weights_placed(const SpWeights *weights, int segment)
{
    return weights->segment[segment].memory != NULL;
}

SpStatus sp_weights_load(SpWeights *weights, SpDevice *device)
{
    const size_t bytes = sp_weights_bytes(weights, 1, weights->segments - 1);
    if (weights->loaded || bytes == 0)
        return sp_ok();
    weights->loaded = device->alloc(device, bytes);
    if (!weights->loaded)
        return sp_error(SP_MEMORY, "%s: cannot get %zu MB for the weights", device->name,
                        bytes >> 20);
    weights->loaded_bytes = bytes;
    char *at = weights->loaded;
    device->release_slot(device, 0);
    for (int i = 1; i < weights->segments; i++) {
        sp_weights_fetch(weights, device, 0, i, at);
        weights->segment[i].memory = at;
        at += weights->segment[i].bytes;
    }
    device->wait_slot(device, 0);
    return sp_ok();
}

void sp_weights_drop(SpWeights *weights, SpDevice *device)
{
    if (!weights->loaded)
        return;
    device->free(device, weights->loaded, weights->loaded_bytes);
    weights->loaded = NULL;
    weights->loaded_bytes = 0;
    for (int i = 1; i < weights->segments; i++)
        weights->segment[i].memory = NULL;
}

size_t sp_weights_loaded(const SpWeights *weights)
{
    return weights->loaded_bytes;
}

const void *sp_weights_find(const SpWeights *weights, const void *data)
{
    const Range *range = range_of(weights, data);
    if (!range)
        return data;
    const char *memory = weights->segment[range->segment].memory;
    return memory ? memory + range->offset + ((uintptr_t)data - (uintptr_t)range->data) : NULL;
}

bool sp_weights_only_host(const SpWeights *weights, const void *data)
{
    const Range *range = range_of(weights, data);
    return range && range->segment == SP_HOST_SEGMENT;
}
