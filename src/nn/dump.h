/*
 * Seeing inside a run: the intermediate tensors that the goldens hold, handed to who asks for them
 * by SpNn.dump. Where it is NULL, and in a dry run, these functions do nothing. Arena memory is not
 * touched, so a run takes what was planned with or without it.
 */
#ifndef SP_NN_DUMP_H
#define SP_NN_DUMP_H

#include "nn/nn.h"

/* `tensor` is called for each of them in the order in which they are computed. name: "UNIT/TENSOR",
 * TENSOR as in the golden UNIT ("front/camera/delta" is delta of front/camera.safetensors); a name
 * that comes again is the next one of a stack: another frame, round or row. data: host float32 of
 * the shape dims [rank], row-major, to be copied before the function returns. */
struct SpDump {
    void (*tensor)(void *self, const char *name, int rank, const int64_t *dims, const float *data);
    void *self;
};

/* Whether tensors are asked for and computed. */
bool sp_nn_dumps(const SpNn *nn);

/* Hands over device memory of that shape; the name is formatted as by printf. SP_MEMORY in
 * nn->status. */
void sp_nn_dump(SpNn *nn, const float *device, int rank, const int64_t *dims, const char *name, ...)
    __attribute__((format(printf, 5, 6)));

/* The same of host memory. */
void sp_nn_dump_host(SpNn *nn, const float *host, int rank, const int64_t *dims, const char *name,
                     ...) __attribute__((format(printf, 5, 6)));

/* A map, as [c, h, w]. */
void sp_nn_dump_map(SpNn *nn, SpFeatureMap map, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* Memory in which the caller gathers a tensor for sp_nn_dump_host, to be freed; NULL unless
 * sp_nn_dumps, or when there is none (then SP_MEMORY in nn->status). */
float *sp_nn_dump_buffer(SpNn *nn, int64_t count);

#endif
