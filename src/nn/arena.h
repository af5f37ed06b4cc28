/*
 * One block of memory, used as a stack: a stage takes what it needs and releases it in reverse
 * order. The arena knows the most it ever held, so a dry run of a stage (an arena without
 * memory behind it) gives the stage's exact need.
 */
#ifndef SP_NN_ARENA_H
#define SP_NN_ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { SP_ARENA_ALIGN = 64 };

typedef struct SpArena {
    char *base;  /* aligned to SP_ARENA_ALIGN; a fake address when dry: never read or written */
    size_t size; /* the budget in bytes */
    size_t used, peak;
    size_t failed; /* bytes of the first request that did not fit, 0 if none */
} SpArena;

/* An arena over `size` bytes at `base`, which stays the caller's. */
SpArena sp_arena_over(void *base, size_t size);

/* An arena that only counts: every request fits and no pointer may be followed. */
SpArena sp_arena_dry(void);

/* `bytes` bytes aligned to SP_ARENA_ALIGN, uninitialised; NULL when the budget does not allow
 * it (then `failed` is set and every later request fails as well). */
void *sp_arena_alloc(SpArena *arena, size_t bytes);

/* The present height of the stack, and back down to it. */
size_t sp_arena_mark(const SpArena *arena);
void sp_arena_release(SpArena *arena, size_t mark);

/* Starts a new peak count from what is held now (at the start of a stage). */
void sp_arena_reset_peak(SpArena *arena);

#endif
