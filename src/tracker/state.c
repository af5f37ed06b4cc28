#define _GNU_SOURCE

#include "tracker/state.h"

#include <stdlib.h>
#include <string.h>

SpStatus sp_tracker_state_open(int64_t queries, uint64_t seed, SpTrackerState **out)
{
    SpTrackerState *state = *out = calloc(1, sizeof *state);
    if (!state)
        return sp_no_memory("the tracks");
    state->random.state = seed;
    const SpStatus status = sp_tracker_state_grow(state, queries);
    if (status.code == SP_OK)
        return status;
    sp_tracker_state_close(state);
    *out = NULL;
    return status;
}

void sp_tracker_state_close(SpTrackerState *state)
{
    if (!state)
        return;
    free(state->order);
    free(state->brought);
    free(state->dynamic);
    free(state->tracked);
    free(state->carry);
    free(state);
}

/* `array` of `before` elements gets `count`, the new ones 0. NULL: there is no memory, and it
 * stays.
 */
static void *grown(void *array, int64_t before, int64_t count, size_t size)
{
    char *more = realloc(array, (size_t)(count + 1) * size);
    if (more)
        memset(more + (size_t)before * size, 0, (size_t)(count + 1 - before) * size);
    return more;
}

SpStatus sp_tracker_state_grow(SpTrackerState *state, int64_t queries)
{
    const int64_t before = state->queries;
    int32_t *order = grown(state->order, before, queries, sizeof *order);
    state->order = order ? order : state->order;
    bool *brought = grown(state->brought, before, queries, sizeof *brought);
    state->brought = brought ? brought : state->brought;
    double *dynamic = grown(state->dynamic, before, queries, sizeof *dynamic);
    state->dynamic = dynamic ? dynamic : state->dynamic;
    int64_t *tracked = grown(state->tracked, before, queries, sizeof *tracked);
    state->tracked = tracked ? tracked : state->tracked;
    if (!order || !brought || !dynamic || !tracked)
        return sp_no_memory("the tracks");
    state->queries = queries;
    return sp_ok();
}

int64_t sp_tracker_active(const SpTrackerState *state)
{
    return state->active;
}

int64_t sp_tracker_final(const SpTrackerState *state)
{
    return state->final;
}

/* By frame, and else as the queries are. */
static int by_frame(const void *a, const void *b, void *queries)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const float *query = queries, x = query[3 * i], y = query[3 * j];
    return x != y ? (x > y) - (x < y) : (i > j) - (i < j);
}

void sp_tracker_bring_in(SpTrackerState *state, const float *query, int64_t end)
{
    int32_t *fresh = state->order + state->active;
    int64_t count = 0;
    for (int32_t n = 0; n < state->queries; n++)
        if (!state->brought[n] && query[3 * n] < (float)end) {
            fresh[count++] = n;
            state->brought[n] = true;
        }
    qsort_r(fresh, (size_t)count, sizeof *fresh, by_frame, (void *)(uintptr_t)query);
    state->active += count;
}
