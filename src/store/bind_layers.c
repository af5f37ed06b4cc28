#include "store/bind_layers.h"

enum { NAME_CAPACITY = 256 };

SpDense sp_dense_bind(SpBinder *b, int64_t out, int64_t in, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    SpDense dense = {.w = sp_bind_weights(b, 2, SP_DIMS(out, in), "%s.weight", name)};
    dense.b = sp_bind_floats(b, dense.w.dim[0], "%s.bias", name);
    return dense;
}

SpNorm sp_norm_bind(SpBinder *b, int64_t width, float eps, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    SpNorm norm = {.w = sp_bind_floats(b, width, "%s.weight", name), .width = width, .eps = eps};
    norm.b = sp_bind_floats(b, width, "%s.bias", name);
    return norm;
}

SpMlp sp_mlp_bind(SpBinder *b, int64_t in, int64_t out, SpActivation act, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    SpMlp mlp = {.fc1 = sp_dense_bind(b, -1, in, "%s1", name), .act = act};
    mlp.fc2 = sp_dense_bind(b, out, mlp.fc1.w.dim[0], "%s2", name);
    return mlp;
}

static SpConvWeights bind_conv(SpBinder *b, const int64_t dims[4], bool transposed,
                               const char *name)
{
    SpConvWeights conv = {.w = sp_bind_weights(b, 4, dims, "%s.weight", name),
                          .transposed = transposed};
    conv.b = sp_bind_floats(b, conv.w.dim[transposed], "%s.bias", name);
    return conv;
}

SpConvWeights sp_conv_bind(SpBinder *b, int64_t out, int64_t in, int64_t k, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    return bind_conv(b, SP_DIMS(out, in, k, k), false, name);
}

SpConvWeights sp_deconv_bind(SpBinder *b, int64_t in, int64_t out, int64_t k, const char *format,
                             ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    return bind_conv(b, SP_DIMS(in, out, k, k), true, name);
}

int64_t sp_bind_count(SpBinder *b, const char *prefix, const char *suffix, int64_t max)
{
    int64_t count = 0;
    while (count < max && sp_bind_has(b, "%s%d%s", prefix, (int)count, suffix))
        count++;
    if (count == 0)
        sp_bind_fail(b, "it lacks tensor %s0%s", prefix, suffix);
    return count;
}
