/*
 * Layers (nn/layers.h) collected from a checkpoint. Names are formatted as by printf; failures stay
 * in the binder (store/checkpoint.h). A size of -1 is any size.
 */
#ifndef SP_STORE_BIND_LAYERS_H
#define SP_STORE_BIND_LAYERS_H

#include "nn/layers.h"
#include "store/checkpoint.h"

/* NAME.weight [out, in] and NAME.bias [out]. */
SpDense sp_dense_bind(SpBinder *binder, int64_t out, int64_t in, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/* NAME.weight and NAME.bias [width]. */
SpNorm sp_norm_bind(SpBinder *binder, int64_t width, float eps, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/* The dense layers NAME1 and NAME2, from `in` values to `out`. */
SpMlp sp_mlp_bind(SpBinder *binder, int64_t in, int64_t out, SpActivation act, const char *name,
                  ...) __attribute__((format(printf, 5, 6)));

/* A convolution: NAME.weight [out, in, k, k] and NAME.bias [out]. */
SpConvWeights sp_conv_bind(SpBinder *binder, int64_t out, int64_t in, int64_t k, const char *name,
                           ...) __attribute__((format(printf, 5, 6)));

/* A transposed convolution: NAME.weight [in, out, k, k] and NAME.bias [out]. */
SpConvWeights sp_deconv_bind(SpBinder *binder, int64_t in, int64_t out, int64_t k, const char *name,
                             ...) __attribute__((format(printf, 5, 6)));

/* How many of the tensors PREFIXiSUFFIX there are, i = 0, 1, ... below `max`; that the first is
 * missing is a failure. */
int64_t sp_bind_count(SpBinder *binder, const char *prefix, const char *suffix, int64_t max);

#endif
