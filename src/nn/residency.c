#include "nn/residency.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, MIN_CAPACITY = 64 };

typedef struct Range {
    const char *data;
    size_t bytes, offset; /* offset: in its group's memory */
    int group;
} Range;

typedef struct Group {
    size_t bytes;  /* on a device */
    char *address; /* on the device; NULL: not resident */
} Group;

struct SpWeights {
    Range *range; /* by address */
    int ranges;
    Group *group;
    int groups, current;
    char *loaded; /* the memory of sp_weights_load */
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* `array` of `count` elements of `size` bytes with capacity for one more, which doubles when it is
 * reached; NULL when memory is short. */
static void *grow(void *array, int count, size_t size)
{
    const bool full = count == 0 || (count >= MIN_CAPACITY && (count & (count - 1)) == 0);
    return full ? realloc(array, (size_t)(count ? 2 * count : MIN_CAPACITY) * size) : array;
}

SpWeights *sp_weights_new(void)
{
    SpWeights *weights = calloc(1, sizeof *weights);
    if (weights && sp_weights_new_group(weights) == SP_HOST_GROUP)
        return weights;
    sp_weights_free(weights);
    return NULL;
}

void sp_weights_free(SpWeights *weights)
{
    if (!weights)
        return;
    free(weights->range);
    free(weights->group);
    free(weights);
}

int sp_weights_new_group(SpWeights *weights)
{
    Group *group = grow(weights->group, weights->groups, sizeof *group);
    if (!group)
        return -1;
    weights->group = group;
    group[weights->groups] = (Group){0};
    return weights->current = weights->groups++;
}

void sp_weights_select_group(SpWeights *weights, int group)
{
    weights->current = group;
}

/* How many ranges begin at or before `data`. */
static int ranges_before(const SpWeights *weights, const void *data)
{
    int low = 0, high = weights->ranges;
    while (low < high) {
        const int middle = (low + high) / 2;
        if ((uintptr_t)weights->range[middle].data <= (uintptr_t)data)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The range that holds `data`, or NULL. */
static Range *range_of(const SpWeights *weights, const void *data)
{
    const int before = ranges_before(weights, data);
    Range *range = before ? &weights->range[before - 1] : NULL;
    return range && (uintptr_t)data - (uintptr_t)range->data < range->bytes ? range : NULL;
}

static void assign_to_current(SpWeights *weights, Range *range)
{
    Group *group = &weights->group[weights->current];
    range->group = weights->current;
    range->offset = group->bytes;
    group->bytes += aligned(range->bytes);
}

bool sp_weights_add(SpWeights *weights, const void *data, size_t bytes)
{
    if (bytes == 0)
        return true;
    Range *range = range_of(weights, data);
    if (range) { /* what the host reads may turn out to be the ops' as well */
        if (range->group == SP_HOST_GROUP && weights->current != SP_HOST_GROUP)
            assign_to_current(weights, range);
        return true;
    }
    range = grow(weights->range, weights->ranges, sizeof *range);
    if (!range)
        return false;
    weights->range = range;
    const int at = ranges_before(weights, data);
    memmove(range + at + 1, range + at, (size_t)(weights->ranges++ - at) * sizeof *range);
    range[at] = (Range){.data = data, .bytes = bytes};
    assign_to_current(weights, &range[at]);
    return true;
}

int sp_weights_groups(const SpWeights *weights)
{
    return weights->groups;
}

size_t sp_weights_bytes(const SpWeights *weights, int first, int count)
{
    size_t bytes = 0;
    for (int i = first; i < first + count; i++)
        bytes += weights->group[i].bytes;
    return bytes;
}

void sp_weights_prefetch(SpWeights *weights, SpDevice *device, int slot, int group, void *memory)
{
    for (int i = 0; i < weights->ranges; i++) {
        const Range *range = &weights->range[i];
        if (range->group == group)
            device->prefetch(device, slot, (char *)memory + range->offset, range->data,
                             range->bytes);
    }
}

void sp_weights_set_address(SpWeights *weights, int group, void *memory)
{
    weights->group[group].address = memory;
}

bool sp_weights_is_resident(const SpWeights *weights, int group)
{
    return weights->group[group].address != NULL;
}

SpStatus sp_weights_load(SpWeights *weights, SpDevice *device)
{
    const size_t bytes = sp_weights_bytes(weights, 1, weights->groups - 1);
    if (weights->loaded || bytes == 0)
        return sp_ok();
    weights->loaded = device->alloc(device, bytes);
    if (!weights->loaded)
        return sp_error(SP_MEMORY, "%s: cannot get %zu MB for the weights", device->name,
                        bytes >> 20);
    char *at = weights->loaded;
    device->release_slot(device, 0);
    for (int i = 1; i < weights->groups; i++) {
        sp_weights_prefetch(weights, device, 0, i, at);
        weights->group[i].address = at;
        at += weights->group[i].bytes;
    }
    device->wait_slot(device, 0);
    return sp_ok();
}

void sp_weights_drop(SpWeights *weights, SpDevice *device)
{
    if (!weights->loaded)
        return;
    device->free(device, weights->loaded, sp_weights_loaded(weights));
    weights->loaded = NULL;
    for (int i = 1; i < weights->groups; i++)
        weights->group[i].address = NULL;
}

size_t sp_weights_loaded(const SpWeights *weights)
{
    return weights->loaded ? sp_weights_bytes(weights, 1, weights->groups - 1) : 0;
}

const void *sp_weights_find(const SpWeights *weights, const void *data)
{
    const Range *range = range_of(weights, data);
    if (!range)
        return data;
    const char *address = weights->group[range->group].address;
    return address ? address + range->offset + ((uintptr_t)data - (uintptr_t)range->data) : NULL;
}

bool sp_weights_only_host(const SpWeights *weights, const void *data)
{
    const Range *range = range_of(weights, data);
    return range && range->group == SP_HOST_GROUP;
}
