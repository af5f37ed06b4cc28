/*
 * One block of memory, used as a stack: a stage allocates in it and releases in reverse order. The
 * arena records its peak, so a dry run of a stage (an arena without memory behind it) gives the
 * stage's exact footprint.
 */
#ifndef SP_NN_ARENA_H
#define SP_NN_ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { SP_ARENA_ALIGN = 64 };

typedef struct SpArena {
    char *base;        /* aligned to SP_ARENA_ALIGN; dry: a fake address, never read or written */
    size_t size;       /* bytes at base: the budget */
    size_t used, peak; /* bytes */
    size_t failed;     /* bytes of the first allocation that did not fit, 0 if none */
} SpArena;

/* An arena over `size` bytes at `base`, which stays the caller's. */
SpArena sp_arena_over(void *base, size_t size);

/* An arena that only counts: every allocation fits and no pointer may be followed. */
SpArena sp_arena_dry(void);

/* `bytes` bytes aligned to SP_ARENA_ALIGN, uninitialised; NULL when the budget does not allow
 * it (then `failed` is set and every later allocation fails as well). */
void *sp_arena_alloc(SpArena *arena, size_t bytes);

/* The bytes in use, for sp_arena_release. */
size_t sp_arena_mark(const SpArena *arena);

/* Releases what was allocated since `mark`. */
void sp_arena_release(SpArena *arena, size_t mark);

#endif
