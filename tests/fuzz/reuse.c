/* FFmpeg's large blocks, kept from run to run. A decoder and its parser take, clear and give back
 * some 1.2 MB an input, which AddressSanitizer maps and unmaps each time: two fifths of the time of
 * the target `video`. Here a block that is given back is poisoned and waits for the next that asks
 * for as much; of a block in use only what was asked for may be touched. AddressSanitizer's own
 * functions are behind these (compiler-rt, asan_malloc_linux.cpp). */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sanitizer/asan_interface.h>

#include "fuzz/targets.h"

enum { PAGE = 4096, SMALLEST = 1 << 12, LARGEST = 1 << 23, BLOCKS = 128 };

typedef struct Block {
    uint8_t *at;
    size_t room, size; /* size: of what is in use, 0 when nothing is */
} Block;

static Block blocks[BLOCKS];
static int in_use;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int __interceptor_posix_memalign(void **out, size_t alignment, size_t size);
void *__interceptor_realloc(void *old, size_t size);
void __interceptor_free(void *old);

/* Blocks begin on a page, and hardly anything else does. */
static bool may_be_block(const void *at)
{
    return at && (uintptr_t)at % PAGE == 0;
}

/* The block that begins there, which must be in use, or NULL. */
static Block *block_of(const void *at)
{
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].at == at) {
            if (!blocks[i].size)
                abort(); /* given back twice */
            return &blocks[i];
        }
    return NULL;
}

/* A block that waits and is not much too large, or else a new one, for which another that waits
 * makes place; NULL when all are in use, or memory is short. */
static Block *block_for(size_t size)
{
    static int next;
    Block *place = NULL;
    for (int i = 0; i < BLOCKS; i++) {
        Block *block = &blocks[(next + i) % BLOCKS];
        if (!block->size && block->room >= size && block->room <= 2 * size)
            return block;
        if (!block->size && (!place || (place->at && !block->at)))
            place = block;
    }
    if (!place)
        return NULL;
    __asan_unpoison_memory_region(place->at, place->room);
    __interceptor_free(place->at);
    *place = (Block){0};
    const size_t room = (size + PAGE - 1) / PAGE * PAGE;
    void *at;
    if (__interceptor_posix_memalign(&at, PAGE, room) != 0)
        return NULL;
    __asan_poison_memory_region(at, room);
    *place = (Block){.at = at, .room = room};
    next = (int)(place - blocks + 1) % BLOCKS;
    return place;
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (size < SMALLEST || size > LARGEST || alignment > PAGE)
        return __interceptor_posix_memalign(out, alignment, size);
    pthread_mutex_lock(&lock);
    Block *block = block_for(size);
    if (block) {
        block->size = size;
        in_use++;
        __asan_unpoison_memory_region(block->at, size);
        *out = block->at;
    }
    pthread_mutex_unlock(&lock);
    return block ? 0 : __interceptor_posix_memalign(out, alignment, size);
}

/* Whether it was a block of ours, which then waits. */
static bool give_back(void *old)
{
    if (!may_be_block(old))
        return false;
    pthread_mutex_lock(&lock);
    Block *block = block_of(old);
    if (block) {
        __asan_poison_memory_region(block->at, block->room);
        block->size = 0;
        in_use--;
    }
    pthread_mutex_unlock(&lock);
    return block;
}

void free(void *old)
{
    if (!give_back(old))
        __interceptor_free(old);
}

void *realloc(void *old, size_t size)
{
    size_t had = 0;
    if (may_be_block(old)) {
        pthread_mutex_lock(&lock);
        const Block *block = block_of(old);
        had = block ? block->size : 0;
        pthread_mutex_unlock(&lock);
    }
    if (had == 0)
        return __interceptor_realloc(old, size);
    void *moved = __interceptor_realloc(NULL, size);
    if (moved) {
        memcpy(moved, old, had < size ? had : size);
        give_back(old);
    }
    return moved;
}

bool fuzz_blocks_left(void)
{
    return in_use != 0;
}
