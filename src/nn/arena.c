#include "nn/arena.h"

#include <stdint.h>

SpArena sp_arena_over(void *base, size_t size)
{
    return (SpArena){.base = base, .size = size};
}

SpArena sp_arena_dry(void)
{
    /* Where no process has memory, so that no address here is also one of a weight. */
    return (SpArena){.base = (char *)((uintptr_t)1 << 62), .size = SIZE_MAX / 4};
}

void *sp_arena_alloc(SpArena *arena, size_t bytes)
{
    const size_t aligned = (bytes + SP_ARENA_ALIGN - 1) / SP_ARENA_ALIGN * SP_ARENA_ALIGN;
    if (arena->failed)
        return NULL;
    if (bytes > arena->size || aligned > arena->size - arena->used) {
        arena->failed = bytes ? bytes : 1;
        return NULL;
    }
    char *at = (char *)((uintptr_t)arena->base + arena->used);
    arena->used += aligned;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return at;
}

size_t sp_arena_mark(const SpArena *arena)
{
    return arena->used;
}

void sp_arena_release(SpArena *arena, size_t mark)
{
    arena->used = mark;
}
