/*
 * Linear layers, over rows in memory or gathered from a convolution's input. Operands that are not
 * in the format of the products are converted in the scratch, some rows at a time: multiples
 * of SP_ROW_TILE. In half precision that costs, per row, reading `in` floats and writing and
 * reading as many halves: 8 bytes an element, 5 to 10 % of the front's time on a Hopper card.
 */
#include "base/minmax.h"
#include "kernels/cuda/libraries.h"

enum {
    WEIGHT_BYTES = 24 << 20, /* of converted weights at a time */
    OUTPUTS = 64,            /* whose multiples they begin at, so that all stays aligned */
    MAX_ROWS = 8 * SP_ROW_TILE,
    PIECE = 8 /* halves that tensor cores read at once: rows are padded to it */
};

static int64_t padded(SpDtype format, int64_t in)
{
    return format == SP_F32 ? in : (in + PIECE - 1) / PIECE * PIECE;
}

static bool has_format(const SpTensor *w, SpDtype format, int64_t ld)
{
    return w->dtype == format && ld == w->dim[1] && (uintptr_t)w->data % 16 == 0;
}

/* The library without an epilogue, where it has none for these widths, then our epilogue. */
static bool gemm_then_epilogue(SpCuda *cuda, const SpGemm *p)
{
    SpGemm plain = *p;
    plain.bias = NULL;
    plain.relu = false;
    if ((!p->bias && !p->relu) || !sp_cuda_blas_gemm(cuda, &plain))
        return false;
    sp_cuda_epilogue(cuda, &(SpEpilogue){.x = p->y,
                                         .rows = p->m,
                                         .width = p->n,
                                         .ldx = p->ldy,
                                         .b = p->bias,
                                         .act = p->relu ? SP_RELU : SP_IDENTITY,
                                         .y = p->y,
                                         .ldy = p->ldy});
    return true;
}

static void gemm(SpCuda *cuda, const SpGemm *p)
{
    if (!sp_cuda_live(cuda) || p->m == 0 || p->n == 0)
        return;
    if (!cuda->own_kernels && (sp_cuda_blas_gemm(cuda, p) || gemm_then_epilogue(cuda, p)))
        return;
    cuda->own_gemms += !cuda->own_kernels;
    sp_cuda_own_gemm(cuda, p);
}

/* The layer needs something after its products that a product cannot do itself. */
static bool has_epilogue(const SpLinear *a)
{
    return a->gain || !(a->act == SP_IDENTITY || (a->act == SP_RELU && !a->residual));
}

/* Rows row .. row + m and outputs out .. out + n; x and w are theirs already. */
static void run_tile(SpCuda *cuda, const SpLinear *a, SpGemm p, int64_t row, int64_t out)
{
    float *y = a->y + row * a->ldy + out;
    const float *residual = a->residual ? a->residual + row * a->ldr + out : NULL;
    const float *b = a->b ? a->b + out : NULL;
    p.y = y;
    p.ldy = a->ldy;
    if (!has_epilogue(a)) {
        p.c = residual;
        p.ldc = a->ldr;
        p.bias = b;
        p.relu = a->act == SP_RELU;
        gemm(cuda, &p);
        return;
    }
    const size_t mark = cuda->scratch_used;
    if (residual == y) {
        p.y = sp_cuda_scratch(cuda, (size_t)(p.m * p.n) * sizeof *p.y);
        p.ldy = p.n;
    }
    gemm(cuda, &p);
    sp_cuda_epilogue(cuda, &(SpEpilogue){.x = p.y,
                                         .rows = p.m,
                                         .width = p.n,
                                         .ldx = p.ldy,
                                         .b = b,
                                         .act = a->act,
                                         .gain = a->gain ? a->gain + out : NULL,
                                         .residual = residual,
                                         .ldr = a->ldr,
                                         .y = y,
                                         .ldy = a->ldy});
    cuda->scratch_used = mark;
}

/* How many rows go together: what fits the scratch, in multiples of SP_ROW_TILE. */
static int64_t rows_at_once(const SpCuda *cuda, const SpLinear *a, bool rows_in_scratch,
                            int64_t x_bytes, int64_t n)
{
    const bool tile = has_epilogue(a) && a->residual == a->y && a->y;
    const int64_t row_bytes =
        (rows_in_scratch ? x_bytes : 0) + (tile ? n * (int64_t)sizeof(float) : 0);
    if (row_bytes == 0)
        return has_epilogue(a) ? MAX_ROWS : a->rows; /* what is finished is still in the cache */
    const int64_t capacity = (int64_t)sp_cuda_scratch_left(cuda) - 4 * SP_CUDA_ALIGN;
    const int64_t fit = capacity / row_bytes / SP_ROW_TILE * SP_ROW_TILE;
    return sp_min(MAX_ROWS, fit > 0 ? fit : SP_ROW_TILE);
}

static void run_outputs(SpCuda *cuda, const SpLinear *a, const SpConv2d *conv, SpGemm p,
                        int64_t out)
{
    const bool rows_in_scratch = conv || p.format != SP_F32;
    const int64_t x_bytes = p.ldw * (int64_t)sp_dtype_size(p.format);
    const int64_t step = rows_at_once(cuda, a, rows_in_scratch, x_bytes, p.n);
    void *rows = NULL;
    if (rows_in_scratch)
        rows = sp_cuda_scratch(cuda, (size_t)(sp_min(step, a->rows) * x_bytes));
    for (int64_t row = 0; row < a->rows && sp_cuda_live(cuda); row += step) {
        p.m = sp_min(step, a->rows - row);
        p.x = rows;
        p.ldx = p.ldw;
        if (conv) {
            sp_cuda_gather(cuda, conv, row, p.m, p.format, rows, p.ldw);
        } else if (rows_in_scratch) {
            sp_cuda_convert(cuda, &(SpConvert){.x = a->x + row * a->ldx,
                                               .dtype = SP_F32,
                                               .rows = p.m,
                                               .width = a->w.dim[1],
                                               .ldx = a->ldx,
                                               .format = p.format,
                                               .out = rows,
                                               .ld = p.ldw});
        } else {
            p.x = a->x + row * a->ldx;
            p.ldx = a->ldx;
        }
        p.k = rows_in_scratch ? p.ldw : a->w.dim[1];
        run_tile(cuda, a, p, row, out);
    }
}

void sp_cuda_linear_rows(SpCuda *cuda, const SpLinear *a, const SpConv2d *conv)
{
    const int64_t outs = a->w.dim[0], in = a->w.dim[1];
    SpGemm p = {.format = cuda->format, .tf32 = cuda->tf32, .ldw = padded(cuda->format, in)};
    const int64_t row_bytes = p.ldw * (int64_t)sp_dtype_size(p.format);
    const bool ready = has_format(&a->w, p.format, p.ldw);
    const int64_t fit = WEIGHT_BYTES / row_bytes, even = fit / OUTPUTS * OUTPUTS;
    const int64_t step = ready || fit >= outs ? outs : even > 0 ? even : fit > 0 ? fit : 1;
    for (int64_t out = 0; out < outs && sp_cuda_live(cuda); out += step) {
        const size_t mark = cuda->scratch_used;
        p.n = sp_min(step, outs - out);
        if (ready) {
            p.w = a->w.data;
        } else {
            void *w = sp_cuda_scratch(cuda, (size_t)(p.n * row_bytes));
            const size_t first = (size_t)(out * in) * sp_dtype_size(a->w.dtype);
            sp_cuda_convert(cuda, &(SpConvert){.x = (const char *)a->w.data + first,
                                               .dtype = a->w.dtype,
                                               .rows = p.n,
                                               .width = in,
                                               .ldx = in,
                                               .format = p.format,
                                               .out = w,
                                               .ld = p.ldw});
            p.w = w;
        }
        run_outputs(cuda, a, conv, p, out);
        cuda->scratch_used = mark;
    }
}

void sp_cuda_linear(SpDevice *device, const SpLinear *a)
{
    sp_cuda_linear_rows(sp_cuda(device), a, NULL);
}
