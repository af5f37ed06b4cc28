/*
 * Linear layers, convolutions as linear layers over gathered rows, deconvolutions. Operands that
 * are not in the format of the products are brought into it in the scratch, some rows at a time:
 * multiples of SP_ROW_TILE. In half precision that costs, per row, reading `in` floats and writing
 * and reading as many halves: 8 bytes an element, 5 to 10 % of the front's time on a Hopper card.
 */
#include "kernels/cuda/internal.h"

enum {
    WEIGHT_BYTES = 24 << 20, /* of converted weights at a time */
    OUTPUTS = 64,            /* whose multiples they begin at, so that all stays aligned */
    MOST_ROWS = 8 * SP_ROW_TILE,
    PIECE = 8 /* halves that tensor cores read at once: rows are padded to it */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t element_bytes(SpFormat format)
{
    return format == SP_FORMAT_F32 ? 4 : 2;
}

static int64_t padded(SpFormat format, int64_t in)
{
    return format == SP_FORMAT_F32 ? in : (in + PIECE - 1) / PIECE * PIECE;
}

static bool has_format(const SpTensor *w, SpFormat format, int64_t ld)
{
    const SpDtype dtype = format == SP_FORMAT_F32    ? SP_F32
                          : format == SP_FORMAT_BF16 ? SP_BF16
                                                     : SP_F16;
    return w->dtype == dtype && ld == w->dim[1] && (uintptr_t)w->data % 16 == 0;
}

/* The layer's products need something after them that the product itself cannot do. */
static bool has_finish(const SpLinear *a)
{
    return a->gain || !(a->act == SP_IDENTITY || (a->act == SP_RELU && !a->residual));
}

/* Rows row .. row + m and outputs out .. out + n with weights w; x is theirs already. */
static void run_tile(SpCuda *cuda, const SpLinear *a, SpProduct p, int64_t row, int64_t out)
{
    float *y = a->y + row * a->ldy + out;
    const float *residual = a->residual ? a->residual + row * a->ldr + out : NULL;
    const float *b = a->b ? a->b + out : NULL;
    p.y = y;
    p.ldy = a->ldy;
    if (!has_finish(a)) {
        p.c = residual;
        p.ldc = a->ldr;
        p.bias = b;
        p.relu = a->act == SP_RELU;
        sp_cuda_product(cuda, &p);
        return;
    }
    const size_t mark = cuda->taken;
    if (residual == y) {
        p.y = sp_cuda_scratch(cuda, (size_t)(p.m * p.n) * sizeof *p.y);
        p.ldy = p.n;
    }
    sp_cuda_product(cuda, &p);
    sp_cuda_finish(cuda, &(SpFinish){.x = p.y,
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
    cuda->taken = mark;
}

/* How many rows go together: what the scratch has room for, in multiples of SP_ROW_TILE. */
static int64_t rows_at_once(const SpCuda *cuda, const SpLinear *a, bool rows_in_scratch,
                            int64_t x_bytes, int64_t n)
{
    const bool tile = has_finish(a) && a->residual == a->y && a->y;
    const int64_t row_bytes =
        (rows_in_scratch ? x_bytes : 0) + (tile ? n * (int64_t)sizeof(float) : 0);
    if (row_bytes == 0)
        return has_finish(a) ? MOST_ROWS : a->rows; /* what is finished is still in the cache */
    const int64_t room = (int64_t)sp_cuda_scratch_left(cuda) - 4 * SP_CUDA_ALIGN;
    const int64_t fit = room / row_bytes / SP_ROW_TILE * SP_ROW_TILE;
    return least(MOST_ROWS, fit > 0 ? fit : SP_ROW_TILE);
}

static void run_outputs(SpCuda *cuda, const SpLinear *a, const SpConv2d *conv, SpProduct p,
                        int64_t out)
{
    const bool rows_in_scratch = conv || p.format != SP_FORMAT_F32;
    const int64_t x_bytes = p.ldw * element_bytes(p.format);
    const int64_t step = rows_at_once(cuda, a, rows_in_scratch, x_bytes, p.n);
    void *rows = NULL;
    if (rows_in_scratch)
        rows = sp_cuda_scratch(cuda, (size_t)(least(step, a->rows) * x_bytes));
    for (int64_t row = 0; row < a->rows && sp_cuda_live(cuda); row += step) {
        p.m = least(step, a->rows - row);
        p.x = rows;
        p.ldx = p.ldw;
        if (conv) {
            sp_cuda_gather(cuda, conv, row, p.m, p.format, rows, p.ldw);
        } else if (rows_in_scratch) {
            sp_cuda_convert_rows(cuda, a->x + row * a->ldx, p.m, a->w.dim[1], a->ldx, p.format,
                                 rows, p.ldw);
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
    SpProduct p = {.format = cuda->format, .tf32 = cuda->tf32, .ldw = padded(cuda->format, in)};
    const int64_t row_bytes = p.ldw * element_bytes(p.format);
    const bool ready = has_format(&a->w, p.format, p.ldw);
    const int64_t fit = WEIGHT_BYTES / row_bytes, even = fit / OUTPUTS * OUTPUTS;
    const int64_t step = ready || fit >= outs ? outs : even > 0 ? even : fit > 0 ? fit : 1;
    for (int64_t out = 0; out < outs && sp_cuda_live(cuda); out += step) {
        const size_t mark = cuda->taken;
        p.n = least(step, outs - out);
        if (ready) {
            p.w = a->w.data;
        } else {
            void *w = sp_cuda_scratch(cuda, (size_t)(p.n * row_bytes));
            sp_cuda_convert_weights(cuda, &a->w, out, p.n, p.format, w, p.ldw);
            p.w = w;
        }
        run_outputs(cuda, a, conv, p, out);
        cuda->taken = mark;
    }
}

void sp_cuda_linear(SpDevice *device, const SpLinear *a)
{
    sp_cuda_linear_rows(sp_cuda(device), a, NULL);
}

/* The library without the epilogue, where it has none for these widths, and ours after it. */
static bool product_then_finish(SpCuda *cuda, const SpProduct *p)
{
    SpProduct plain = *p;
    plain.bias = NULL;
    plain.relu = false;
    if ((!p->bias && !p->relu) || !sp_cuda_blas_product(cuda, &plain))
        return false;
    sp_cuda_finish(cuda, &(SpFinish){.x = p->y,
                                     .rows = p->m,
                                     .width = p->n,
                                     .ldx = p->ldy,
                                     .b = p->bias,
                                     .act = p->relu ? SP_RELU : SP_IDENTITY,
                                     .y = p->y,
                                     .ldy = p->ldy});
    return true;
}

void sp_cuda_product(SpCuda *cuda, const SpProduct *p)
{
    if (!sp_cuda_live(cuda) || p->m == 0 || p->n == 0)
        return;
    if (!cuda->own_kernels && (sp_cuda_blas_product(cuda, p) || product_then_finish(cuda, p)))
        return;
    cuda->own_products += !cuda->own_kernels;
    sp_cuda_own_product(cuda, p);
}

/* cuDNN's result is dense: it goes where y is dense, else through the scratch. Image by image, so
 * that no image's bits depend on its neighbours. */
static bool conv_by_library(SpCuda *cuda, const SpConv2d *a, int64_t pixels)
{
    const bool direct = a->ldy == a->cout && a->residual != a->y;
    const size_t bytes = (size_t)(pixels * a->cout) * sizeof(float);
    if (cuda->own_kernels || cuda->format != SP_FORMAT_F32 ||
        (!direct && bytes > SP_CUDA_SCRATCH / 2))
        return false;
    const size_t mark = cuda->taken;
    float *tile = direct ? NULL : sp_cuda_scratch(cuda, bytes);
    bool done = true;
    for (int64_t i = 0; i < a->n && done && sp_cuda_live(cuda); i++) {
        SpConv2d image = *a;
        image.n = 1;
        image.x += i * a->h * a->w * a->ldx;
        float *y = a->y + i * pixels * a->ldy, *result = direct ? y : tile;
        done = sp_cuda_dnn_conv(cuda, &image, result);
        if (done)
            sp_cuda_finish(
                cuda,
                &(SpFinish){.x = result,
                            .rows = pixels,
                            .width = a->cout,
                            .ldx = a->cout,
                            .b = a->b,
                            .act = a->act,
                            .residual = a->residual ? a->residual + i * pixels * a->cout : NULL,
                            .ldr = a->cout,
                            .y = y,
                            .ldy = a->ldy});
    }
    cuda->taken = mark;
    return done;
}

void sp_cuda_conv2d(SpDevice *device, const SpConv2d *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t ho = (a->h + 2 * a->pad - a->kh) / a->stride + 1;
    const int64_t wo = (a->w + 2 * a->pad - a->kw) / a->stride + 1;
    const bool pointwise = a->kh == 1 && a->kw == 1 && a->stride == 1 && a->pad == 0;
    if (!sp_cuda_live(cuda) || (!pointwise && conv_by_library(cuda, a, ho * wo)))
        return;
    const SpLinear rows = {
        .x = a->x,
        .rows = a->n * ho * wo,
        .ldx = a->ldx,
        .w = {.data = a->packed, .rank = 2, .dim = {a->cout, a->kh * a->kw * a->cin}},
        .b = a->b,
        .act = a->act,
        .residual = a->residual,
        .ldr = a->cout,
        .y = a->y,
        .ldy = a->ldy};
    sp_cuda_linear_rows(cuda, &rows, pointwise ? NULL : a);
}

/* The products of some pixels with all taps, then each tap's to its place. */
void sp_cuda_deconv(SpDevice *device, const SpDeconv *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t pixels = a->n * a->h * a->w, outs = a->s * a->s * a->cout;
    const int64_t fit = WEIGHT_BYTES / (outs * (int64_t)sizeof(float)) / SP_ROW_TILE * SP_ROW_TILE;
    const int64_t step = least(MOST_ROWS, fit > 0 ? fit : SP_ROW_TILE);
    float *tile = sp_cuda_scratch(cuda, (size_t)(least(step, pixels) * outs) * sizeof *tile);
    for (int64_t first = 0; first < pixels && sp_cuda_live(cuda); first += step) {
        const int64_t m = least(step, pixels - first);
        sp_cuda_linear_rows(cuda,
                            &(SpLinear){.x = a->x + first * a->cin,
                                        .rows = m,
                                        .ldx = a->cin,
                                        .w = {.data = a->packed, .rank = 2, .dim = {outs, a->cin}},
                                        .y = tile,
                                        .ldy = outs},
                            NULL);
        sp_cuda_scatter(cuda, a, first, m, tile);
    }
    cuda->taken = 0;
}
