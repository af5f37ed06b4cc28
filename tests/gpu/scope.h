/* Device memory of one case of ops.h. */
#ifndef SP_TESTS_GPU_SCOPE_H
#define SP_TESTS_GPU_SCOPE_H

#include "gpu/ops.h"

typedef struct Scope {
    SpDevice *device;
    int used;
    void *memory[16];
    size_t bytes[16];
} Scope;

/* `memory`, or the end of the program when it is NULL. */
void *checked(void *memory);

/* Device memory with these bytes, or with op_noise(name, count); the scope's. */
void *put(Scope *s, const void *data, size_t bytes);
float *put_noise(Scope *s, const char *name, int64_t count);

/* One block of bytes in a direction of the copy op. */
void transfer(Scope *s, SpCopyKind kind, void *to, const void *from, size_t bytes);

/* `count` floats of the device to y; they are there when it returns. */
void get(Scope *s, const float *from, float *y, int64_t count);

/* Gives the memory back. */
void end(Scope *s);

#endif
