/*
 * Chooses the kernel of an attention, never by the number of queries: a call may be split by them.
 *
 * Half precision: where q, k and v are float32 in memory, each head's k and v are copied to halves
 * in the scratch first, as many heads at a time as fit. Operands are read where they are, by our
 * kernels if heads fill a tile's width, and are copied for cuDNN, head by head.
 */
#include "base/minmax.h"
#include "kernels/cuda/libraries.h"

enum {
    FEW_KEYS = 64, /* up to here a thread a query */
    FEW_HEAD = 64,
    MAX_MMA_HEAD = SP_OPERAND_HEAD,
    MAX_TILED_HEAD = 256
};

/* n rows of each unit, that far apart in floats. */
static SpUnits units(const SpCuda *cuda, const SpAttention *a, int64_t first, int64_t count,
                     int64_t width)
{
    return (SpUnits){.rows = sp_cuda_format(cuda, a->operand),
                     .first = first,
                     .count = count,
                     .heads = a->heads,
                     .head = a->head,
                     .width = width};
}

static void place(SpUnits *u, int64_t n, int64_t batch, int64_t row)
{
    u->n = n;
    u->batch = sp_cuda_ld(u->rows, batch);
    u->row = sp_cuda_ld(u->rows, row);
}

static void pack_keys(SpCuda *cuda, const SpAttention *a, SpUnits u, void *k, void *v)
{
    place(&u, a->nk, a->k_batch, a->k_row);
    sp_cuda_pack_units(cuda, &u, a->k, cuda->format, k);
    place(&u, a->nk, a->v_batch, a->v_row);
    sp_cuda_pack_units(cuda, &u, a->v, cuda->format, v);
}

/* Bytes of so many halves in the workspace. */
static size_t half_bytes(int64_t count)
{
    return sp_cuda_aligned((size_t)count * 2);
}

/* The size of the groups into which `all` units are cut evenly, at most `max`. */
static int64_t even_group(int64_t all, int64_t max)
{
    const int64_t groups = (all + max - 1) / max;
    return (all + groups - 1) / groups;
}

/* The same where every size of a group costs a plan: without a smaller last one, unless that makes
 * them much smaller. */
static int64_t whole_group(int64_t all, int64_t max)
{
    const int64_t even = even_group(all, max);
    for (int64_t group = even; 2 * group >= even; group--)
        if (all % group == 0)
            return group;
    return even;
}

/* A group of units by cuDNN, all four arrays packed. They may fill the libraries' part of the
 * workspace too, except for what a plan needs. */
static void fused_group(SpCuda *cuda, const SpAttention *a, int64_t first, SpFused f)
{
    SpUnits u = units(cuda, a, first, f.units, a->head);
    const size_t q_bytes = half_bytes(f.units * a->nq * a->head);
    const size_t k_bytes = half_bytes(f.units * a->nk * a->head);
    char *q = cuda->work, *y = q + q_bytes, *k = y + q_bytes, *v = k + k_bytes;
    place(&u, a->nq, a->q_batch, a->q_row);
    u.share = a->q_share;
    sp_cuda_pack_units(cuda, &u, a->q, cuda->format, q);
    pack_keys(cuda, a, units(cuda, a, first, f.units, a->head), k, v);
    f.q = q;
    f.k = k;
    f.v = v;
    f.y = y;
    sp_cuda_dnn_attention(cuda, &f);
    u.share = 0;
    place(&u, a->nq, a->y_batch, a->y_row);
    sp_cuda_unpack_units(cuda, &u, y, cuda->format, a->y);
}

static bool by_library(SpCuda *cuda, const SpAttention *a)
{
    const int64_t all = a->batch * a->heads;
    const size_t unit = half_bytes(a->nq * a->head) * 2 + half_bytes(a->nk * a->head) * 2;
    const size_t capacity = SP_CUDA_SCRATCH + SP_CUDA_LIBRARY - SP_CUDA_DNN_PLAN;
    if (cuda->own_kernels || a->nk < cuda->library_keys || (a->head != 64 && a->head != 128) ||
        unit > capacity)
        return false;
    const int64_t group = whole_group(all, (int64_t)(capacity / unit));
    SpFused f = {group, a->nq, a->nk, a->head, a->scale, NULL, NULL, NULL, NULL};
    SpFused last = f;
    last.units = all - (all - 1) / group * group;
    if (!sp_cuda_dnn_has_attention(cuda, &f) || !sp_cuda_dnn_has_attention(cuda, &last)) {
        cuda->refused_attentions += cuda->major >= 9;
        return false;
    }
    for (int64_t first = 0; first < all && sp_cuda_live(cuda); first += group) {
        f.units = sp_min(group, all - first);
        fused_group(cuda, a, first, f);
    }
    return true;
}

/* Heads of operands as a kernel for heads of `width` reads them. */
static bool reads_operands(const SpAttention *a, int64_t width)
{
    const int64_t rows = a->k_row | a->v_row | a->k_batch | a->v_batch;
    return a->head == width && rows % 4 == 0 && ((uintptr_t)a->k | (uintptr_t)a->v) % 16 == 0;
}

static void by_mma(SpCuda *cuda, const SpAttention *a)
{
    const int64_t width = a->head <= 64 ? 64 : 128, all = a->batch * a->heads;
    const size_t unit = half_bytes(a->nk * width) * 2;
    const int64_t fit = (int64_t)(SP_CUDA_SCRATCH / unit);
    const bool operand = sp_cuda_format(cuda, a->operand) != SP_F32;
    if (operand ? reads_operands(a, width) : fit == 0) { /* 0: over 260,000 keys */
        sp_cuda_attention_mma(cuda, a, 0, all, NULL, NULL);
        return;
    }
    const int64_t group = even_group(all, sp_max(fit, 1));
    const size_t bytes = half_bytes(group * a->nk * width);
    char *k = sp_cuda_scratch(cuda, bytes), *v = sp_cuda_scratch(cuda, bytes);
    for (int64_t first = 0; first < all && sp_cuda_live(cuda); first += group) {
        const int64_t count = sp_min(group, all - first);
        pack_keys(cuda, a, units(cuda, a, first, count, width), k, v);
        sp_cuda_attention_mma(cuda, a, first, count, k, v);
    }
    cuda->scratch_used = 0;
}

void sp_cuda_attention(SpDevice *device, const SpAttention *a)
{
    SpCuda *cuda = sp_cuda(device);
    if (!sp_cuda_live(cuda) || a->batch * a->heads * a->nq == 0)
        return;
    const bool operand = sp_cuda_format(cuda, a->operand) != SP_F32;
    if (!operand && a->nk <= FEW_KEYS && a->head <= FEW_HEAD)
        sp_cuda_attention_few(cuda, a);
    else if (cuda->format != SP_F32 && a->head <= MAX_MMA_HEAD) {
        if (!by_library(cuda, a))
            by_mma(cuda, a);
    } else if (a->head <= MAX_TILED_HEAD)
        sp_cuda_attention_tiled(cuda, a);
    else
        sp_cuda_attention_wide(cuda, a);
}
