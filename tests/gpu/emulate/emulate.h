/*
 * A block of CUDA threads on one CPU thread: each is a fiber that runs until it waits at a barrier.
 * Blocks run one after another. A barrier that some threads never reach ends the program.
 */
#ifndef SP_TESTS_GPU_EMULATE_H
#define SP_TESTS_GPU_EMULATE_H

#include <stddef.h>
#include <stdint.h>

#include <functional>

struct EmulateIndex {
    unsigned x;
};

struct EmulateThread {
    EmulateIndex thread, block, block_size, grid_size;
    int lane;
    char *shared;              /* the block's dynamic shared memory */
    unsigned char offered[32]; /* what the lane offers to the others of its warp */
};

/* The thread that runs, and a lane of its warp. */
extern EmulateThread *emulate_running;
static inline EmulateThread *emulate_thread()
{
    return emulate_running;
}
EmulateThread *emulate_lane(int lane);

/* Until all threads of the block, or of the warp, are there. */
void emulate_wait_block();
void emulate_wait_warp();

/* Copies of 16 bytes that the thread begins, and their end. */
void emulate_copy(void *to, const void *from);
void emulate_copies_done();

/* Reports that the kernel does what a GPU would not allow, and ends the program. */
void emulate_fault(const char *what);

/* Runs `body` as each thread of each block; `kernel` is its name for messages. Shared memory is
 * filled with NaN at the start of each block. */
void emulate_launch(const char *kernel, int64_t grid, int block, size_t shared,
                    const std::function<void()> &body);

/* Does what has been issued to a stream before a kernel: runtime.c, or nothing where there are no
 * streams. */
extern "C" void emulate_wait_stream(struct CUstream_st *stream);

/* Whether a block's threads run from the last to the first. */
extern "C" bool emulate_descending;

#endif
