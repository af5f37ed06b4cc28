#include "gpu/emulate/emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

bool emulate_descending = false;
EmulateThread *emulate_running;

/* Leaves the stack whose pointer goes to *left and goes on on the one at `entered`, where the
 * registers that a call must keep lie below the place to go on at. (swapcontext does two system
 * calls, ten times the work of all else here.) */
extern "C" void emulate_switch(void **left, void *entered);
#if defined(__x86_64__)
enum { KEPT = 6 };
__asm__(R"(
    .text
    .globl emulate_switch
    .type emulate_switch, @function
emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulate_switch, .-emulate_switch
    .section .note.GNU-stack,"",@progbits
    .text
)");
#else
#error "tests/gpu/emulate needs emulate_switch for this processor"
#endif

namespace
{

enum State { RUNS, WAITS_WARP, WAITS_BLOCK, DONE };
enum { WARP = 32, STACK = 64 << 10, MAX_SHARED = 64 << 10 };

struct Copy {
    void *to;
    const void *from;
};

struct Fiber {
    EmulateThread data;
    void *stack; /* its pointer while it waits */
    State state;
    std::vector<Copy> copies;
};

std::vector<Fiber> fibers;
std::vector<char> shared;
char *stacks; /* STACK bytes a thread, aligned to a page */
void *scheduler;
size_t current;
const std::function<void()> *kernel_body;
const char *kernel_name;

void run_thread()
{
    (*kernel_body)();
    if (!fibers[current].copies.empty())
        emulate_fault("a thread ended with copies under way");
    fibers[current].state = DONE;
    emulate_switch(&fibers[current].stack, scheduler);
}

void wait(State state)
{
    fibers[current].state = state;
    emulate_switch(&fibers[current].stack, scheduler);
}

/* Lets go on those of first .. first + count that all wait in `state`. */
bool release(size_t first, size_t count, State state)
{
    for (size_t i = first; i < first + count; i++)
        if (fibers[i].state != state)
            return false;
    for (size_t i = first; i < first + count; i++)
        fibers[i].state = RUNS;
    return true;
}

void begin_block(int64_t block, size_t threads, size_t shared_bytes)
{
    const float nan = __builtin_nanf("");
    for (size_t i = 0; i + sizeof nan <= shared_bytes; i += sizeof nan)
        memcpy(&shared[i], &nan, sizeof nan);
    for (size_t i = 0; i < threads; i++) {
        Fiber &f = fibers[i];
        f.data.thread.x = (unsigned)i;
        f.data.block.x = (unsigned)block;
        f.data.lane = (int)(i % WARP);
        f.data.shared = shared.data();
        f.state = RUNS;
        void **top = reinterpret_cast<void **>(&stacks[(i + 1) * STACK]);
        top[-1] = nullptr;
        top[-2] = reinterpret_cast<void *>(run_thread);
        for (int k = 0; k < KEPT; k++)
            top[-3 - k] = nullptr;
        f.stack = top - 2 - KEPT;
    }
}

void run_block(size_t threads)
{
    for (;;) {
        bool moved = false, all_done = true;
        for (size_t i = 0; i < threads; i++) {
            current = emulate_descending ? threads - 1 - i : i;
            if (fibers[current].state == RUNS) {
                emulate_running = &fibers[current].data;
                emulate_switch(&scheduler, fibers[current].stack);
                moved = true;
            }
        }
        for (size_t i = 0; i < threads; i += WARP)
            moved = release(i, WARP, WAITS_WARP) || moved;
        moved = release(0, threads, WAITS_BLOCK) || moved;
        for (size_t i = 0; i < threads; i++)
            all_done = all_done && fibers[i].state == DONE;
        if (all_done)
            return;
        if (!moved)
            emulate_fault("some threads wait at a barrier that others never reach");
    }
}

} // namespace

EmulateThread *emulate_lane(int lane)
{
    return &fibers[current / WARP * WARP + (size_t)lane].data;
}

void emulate_wait_block()
{
    wait(WAITS_BLOCK);
}

void emulate_wait_warp()
{
    wait(WAITS_WARP);
}

void emulate_copy(void *to, const void *from)
{
    fibers[current].copies.push_back(Copy{to, from});
}

void emulate_copies_done()
{
    for (const Copy &copy : fibers[current].copies)
        memcpy(copy.to, copy.from, 16);
    fibers[current].copies.clear();
}

void emulate_fault(const char *what)
{
    fprintf(stderr, "kernel %s: %s\n", kernel_name, what);
    abort();
}

void emulate_launch(const char *kernel, int64_t grid, int block, size_t shared_bytes,
                    const std::function<void()> &body)
{
    kernel_name = kernel;
    kernel_body = &body;
    if (block <= 0 || block % WARP || block > 1024 || grid > INT32_MAX)
        emulate_fault("a grid or block of a size that no GPU accepts");
    if (shared_bytes > MAX_SHARED)
        emulate_fault("more shared memory than a GPU of capability 7.5 has");
    const size_t threads = (size_t)block;
    if (fibers.size() < threads) {
        fibers.resize(threads);
        free(stacks);
        stacks = static_cast<char *>(aligned_alloc(4096, threads * STACK));
        if (!stacks)
            emulate_fault("no memory for its threads");
    }
    shared.assign(shared_bytes + 16, 0);
    for (size_t i = 0; i < threads; i++) {
        fibers[i].data.block_size.x = (unsigned)block;
        fibers[i].data.grid_size.x = (unsigned)grid;
    }
    for (int64_t b = 0; b < grid; b++) {
        begin_block(b, threads, shared_bytes);
        run_block(threads);
    }
}
