/*
 * Linear layers, over rows in memory or gathered from a convolution's input. Operands that are not
 * in the format of the products, or whose rows do not begin at 16 bytes, are copied to the scratch,
 * some rows at a time: multiples of SP_ROW_TILE.
 */
#include "base/minmax.h"
#include "kernels/cuda/libraries.h"

enum {
    WEIGHT_BYTES = 24 << 20, /* of converted weights at a time */
    OUTPUTS = 64,            /* whose multiples they begin at, so that all stays aligned */
    ALIGN = 16,              /* bytes that tensor cores read at once: rows are padded to it */
    MIN_WIDTH = 64           /* of rows whose alignment is worth a copy */
};

/* Elements of a row in the scratch. Short rows of float32 are left as they are. */
static int64_t padded(SpDtype format, int64_t in)
{
    const int64_t piece = ALIGN / (int64_t)sp_dtype_size(format);
    return format == SP_F32 && in < MIN_WIDTH ? in : (in + piece - 1) / piece * piece;
}

static bool is_aligned(const void *at, int64_t ld, SpDtype format)
{
    return (uintptr_t)at % ALIGN == 0 && ld * (int64_t)sp_dtype_size(format) % ALIGN == 0;
}

/* A layer on its way: rows of x come from memory or from the scratch. */
typedef struct Layer {
    SpCuda *cuda;
    const SpLinear *a;
    const SpConv2d *conv; /* or NULL */
    bool rows_in_scratch;
    bool folded; /* the gain is in the weights */
} Layer;

/* The library without an epilogue, where it has none for these widths, then our epilogue. */
static bool gemm_then_epilogue(SpCuda *cuda, const SpGemm *p)
{
    SpGemm plain = *p;
    plain.bias = NULL;
    plain.relu = false;
    if ((!p->bias && !p->relu) || p->y_format != SP_F32 || !sp_cuda_blas_gemm(cuda, &plain))
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
static bool has_epilogue(const Layer *l)
{
    const SpLinear *a = l->a;
    return (a->gain && !l->folded) ||
           !(a->act == SP_IDENTITY || (a->act == SP_RELU && !a->residual));
}

/* A vector of float32 as the products' bias: `count` numbers in y's format, of the scratch. */
static const void *bias_of(SpCuda *cuda, const float *b, const float *gain, int64_t count,
                           SpDtype format)
{
    if (!b || (format == SP_F32 && !gain))
        return b;
    void *copy = sp_cuda_scratch(cuda, (size_t)count * sp_dtype_size(format));
    sp_cuda_convert(cuda, &(SpConvert){.x = b,
                                       .dtype = SP_F32,
                                       .rows = count,
                                       .width = 1,
                                       .ldx = 1,
                                       .gain = gain,
                                       .format = format,
                                       .out = copy,
                                       .ld = 1});
    return copy;
}

/* Rows row .. row + m and outputs out .. out + n; x, w, bias and y's format are theirs already. */
static void run_tile(const Layer *l, SpGemm p, int64_t row, int64_t out)
{
    SpCuda *cuda = l->cuda;
    const SpLinear *a = l->a;
    const int64_t ldy = sp_cuda_ld(p.y_format, a->ldy);
    char *y = (char *)(a->y + row * a->ldy) + (size_t)out * sp_dtype_size(p.y_format);
    const float *residual = a->residual ? a->residual + row * a->ldr + out : NULL;
    p.y = y;
    p.ldy = ldy;
    if (!has_epilogue(l)) {
        p.c = residual;
        p.ldc = a->ldr;
        p.relu = a->act == SP_RELU;
        gemm(cuda, &p);
        return;
    }
    const size_t mark = cuda->scratch_used;
    p.bias = NULL;
    if ((const void *)residual == y) {
        p.y = sp_cuda_scratch(cuda, (size_t)(p.m * p.n) * sizeof(float));
        p.ldy = p.n;
    }
    gemm(cuda, &p);
    sp_cuda_epilogue(cuda, &(SpEpilogue){.format = p.y_format,
                                         .x = p.y,
                                         .rows = p.m,
                                         .width = p.n,
                                         .ldx = p.ldy,
                                         .b = a->b ? a->b + out : NULL,
                                         .act = a->act,
                                         .gain = a->gain ? a->gain + out : NULL,
                                         .residual = residual,
                                         .ldr = a->ldr,
                                         .y = y,
                                         .ldy = ldy});
    cuda->scratch_used = mark;
}

/* How many rows go together: what fits the scratch, in multiples of SP_ROW_TILE. */
static int64_t rows_at_once(const Layer *l, int64_t x_bytes, int64_t n)
{
    const SpLinear *a = l->a;
    const bool tile = has_epilogue(l) && a->residual == a->y && a->y;
    const int64_t row_bytes =
        (l->rows_in_scratch ? x_bytes : 0) + (tile ? n * (int64_t)sizeof(float) : 0);
    if (row_bytes == 0)
        return has_epilogue(l) ? SP_CUDA_ROWS : a->rows;
    const int64_t capacity = (int64_t)sp_cuda_scratch_left(l->cuda) - 4 * SP_CUDA_ALIGN;
    const int64_t fit = capacity / row_bytes / SP_ROW_TILE * SP_ROW_TILE;
    return sp_min(SP_CUDA_ROWS, fit > 0 ? fit : SP_ROW_TILE);
}

/* Rows of x as the products read them. */
static void rows_of(const Layer *l, int64_t row, void *scratch, SpGemm *p)
{
    const SpLinear *a = l->a;
    const SpDtype format = sp_cuda_format(l->cuda, a->x_operand);
    p->x = scratch;
    p->ldx = p->ldw;
    p->k = l->rows_in_scratch ? p->ldw : a->w.dim[1];
    if (l->conv) {
        sp_cuda_gather(l->cuda, l->conv, row, p->m, p->format, scratch, p->ldw);
    } else if (l->rows_in_scratch) {
        sp_cuda_convert(l->cuda, &(SpConvert){.x = a->x + row * a->ldx,
                                              .dtype = format,
                                              .rows = p->m,
                                              .width = a->w.dim[1],
                                              .ldx = sp_cuda_ld(format, a->ldx),
                                              .format = p->format,
                                              .out = scratch,
                                              .ld = p->ldw});
    } else {
        p->x = a->x + row * a->ldx;
        p->ldx = sp_cuda_ld(format, a->ldx);
    }
}

static void run_outputs(const Layer *l, SpGemm p, int64_t out)
{
    const SpLinear *a = l->a;
    const int64_t x_bytes = p.ldw * (int64_t)sp_dtype_size(p.format);
    const int64_t step = rows_at_once(l, x_bytes, p.n);
    void *scratch = NULL;
    if (l->rows_in_scratch)
        scratch = sp_cuda_scratch(l->cuda, (size_t)(sp_min(step, a->rows) * x_bytes));
    for (int64_t row = 0; row < a->rows && sp_cuda_live(l->cuda); row += step) {
        p.m = sp_min(step, a->rows - row);
        rows_of(l, row, scratch, &p);
        run_tile(l, p, row, out);
    }
}

/* Weights of outputs out .. out + n as the products read them. */
static const void *weights_of(const Layer *l, int64_t out, const SpGemm *p)
{
    const SpLinear *a = l->a;
    const int64_t in = a->w.dim[1];
    void *w = sp_cuda_scratch(l->cuda, (size_t)(p->n * p->ldw) * sp_dtype_size(p->format));
    sp_cuda_convert(l->cuda, &(SpConvert){.x = (const char *)a->w.data +
                                               (size_t)(out * in) * sp_dtype_size(a->w.dtype),
                                          .dtype = a->w.dtype,
                                          .rows = p->n,
                                          .width = in,
                                          .ldx = in,
                                          .gain = l->folded ? a->gain + out : NULL,
                                          .format = p->format,
                                          .out = w,
                                          .ld = p->ldw});
    return w;
}

void sp_cuda_linear_rows(SpCuda *cuda, const SpLinear *a, const SpConv2d *conv)
{
    const int64_t outs = a->w.dim[0], in = a->w.dim[1];
    SpGemm p = {.format = cuda->format,
                .tf32 = cuda->tf32,
                .ldw = padded(cuda->format, in),
                .y_format = sp_cuda_format(cuda, a->y_part > 0)};
    const SpDtype x_format = sp_cuda_format(cuda, a->x_operand);
    const bool folded = p.format != SP_F32 && a->gain && a->act == SP_IDENTITY;
    const bool ready =
        !folded && a->w.dtype == p.format && p.ldw == in && (uintptr_t)a->w.data % ALIGN == 0;
    const bool wide = p.ldw >= MIN_WIDTH || p.format != SP_F32;
    const Layer l = {.cuda = cuda,
                     .a = a,
                     .conv = conv,
                     .rows_in_scratch =
                         conv || x_format != p.format ||
                         (wide && !is_aligned(a->x, sp_cuda_ld(x_format, a->ldx), x_format)),
                     .folded = folded};
    const int64_t row_bytes = p.ldw * (int64_t)sp_dtype_size(p.format);
    const int64_t fit = WEIGHT_BYTES / row_bytes, even = fit / OUTPUTS * OUTPUTS;
    const int64_t step = ready || fit >= outs ? outs : even > 0 ? even : fit > 0 ? fit : 1;
    for (int64_t out = 0; out < outs && sp_cuda_live(cuda); out += step) {
        const size_t mark = cuda->scratch_used;
        p.n = sp_min(step, outs - out);
        p.w = ready ? a->w.data : weights_of(&l, out, &p);
        p.bias =
            bias_of(cuda, a->b ? a->b + out : NULL, folded ? a->gain + out : NULL, p.n, p.y_format);
        run_outputs(&l, p, out);
        cuda->scratch_used = mark;
    }
}

/* Outputs in parts, each as a layer of its own. */
void sp_cuda_linear(SpDevice *device, const SpLinear *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t outs = a->w.dim[0], in = a->w.dim[1];
    const int64_t part = a->y_part && sp_cuda_operands(cuda) ? a->y_part : outs;
    for (int64_t out = 0; out < outs; out += part) {
        SpLinear one = *a;
        one.w.data = (const char *)a->w.data + (size_t)(out * in) * sp_dtype_size(a->w.dtype);
        one.w.dim[0] = part;
        one.b = a->b ? a->b + out : NULL;
        one.y = a->y + out;
        sp_cuda_linear_rows(cuda, &one, NULL);
    }
}
