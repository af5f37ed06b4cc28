/* The kernels of kernels/cuda, compiled for a device that counts (platform.cuh here), and what each
 * of them reads, writes and computes. */
#include "gpu/emulate/kernels.cpp"

static void memory(const char *what, double bytes)
{
    count_add(what, COUNT_MEMORY, CountWork{.launches = 1, .bytes = bytes, .filled = 1});
}

static double floats(double count)
{
    return count * sizeof(float);
}

void count_nothing(const char *what)
{
    memory(what, 0);
}

void count_work(const char *what, const SpLayerNorm &a)
{
    memory(what, (sizeof(float) + count_element(a.operand)) * (double)(a.rows * a.width));
}

/* The table's kernel has the same argument. */
void count_work(const char *what, const SpQkNormRope &a)
{
    const bool table = strcmp(what, "rope_table") == 0;
    const double elements = 2.0 * (double)(a.rows * a.heads * a.head);
    memory(what, table ? 0 : 2 * count_element(a.operand) * elements);
}

/* The sums of a pass read all; the last kernel reads and writes all. */
void count_work(const char *what, const SpInstanceNorm &a)
{
    const double all = floats((double)(a.n * a.pixels * a.c));
    const bool sums = strcmp(what, "pixel_sums") == 0, last = strcmp(what, "instance_norm") == 0;
    memory(what, sums ? all : last ? 2 * all : 0);
}

void count_work(const char *what, const SpElementwise &a)
{
    memory(what, floats((double)a.count * (a.add && !a.period ? 3 : 2)));
}

/* In tiles or a thread a query, without tensor cores. */
void count_work(const char *what, const SpAttention &a)
{
    const double rows = (double)(a.batch * a.heads * a.head);
    count_add(what, COUNT_F32,
              CountWork{.launches = 1,
                        .bytes = floats(rows * (double)(2 * a.nq + 2 * a.nk)),
                        .operations = 4 * rows * (double)a.nq * (double)a.nk,
                        .filled = 1});
}

void count_work(const char *what, const SpResize &a)
{
    memory(what, floats((double)(a.n * a.c) * (double)(a.h * a.w + a.ho * a.wo)));
}

void count_work(const char *what, const SpAxisAdd &a)
{
    memory(what, floats(2.0 * (double)(a.h * a.w * a.c)));
}

void count_work(const char *what, const SpCopy &a)
{
    memory(what, 2.0 * (double)(a.bytes * a.rows));
}

void count_work(const char *what, const SpCorrelate &a)
{
    const double patch = (double)(a.side * a.side), pixels = (double)((a.side + 1) * (a.side + 1));
    count_add(what, COUNT_F32,
              CountWork{.launches = 1,
                        .bytes = floats((double)a.pairs * (patch * patch + pixels * (double)a.c)),
                        .operations = 2 * (double)a.pairs * pixels * patch * (double)a.c,
                        .filled = 1});
}

void count_work(const char *what, const SpSamplePatches &a)
{
    const int64_t samples = a.pick ? a.picks : a.side * a.side;
    memory(what, floats(5.0 * (double)(a.pairs * samples * a.c)));
}

void count_work(const char *what, const SpPosenc &a)
{
    memory(what, floats((double)(a.rows * a.c) * (double)(2 + 2 * a.degree)));
}

void count_work(const char *what, const SpConvert &a)
{
    memory(what, (double)a.rows * ((double)(a.width * (int64_t)sp_dtype_size(a.dtype)) +
                                   (double)(a.ld * (int64_t)sp_dtype_size(a.format))));
}

void count_work(const char *what, const SpEpilogue &a)
{
    memory(what, (double)(a.rows * a.width) * (double)sp_dtype_size(a.format) * (a.residual ? 3 : 2));
}

void count_work(const char *what, const SpUnits &a)
{
    memory(what, ((double)sp_dtype_size(a.rows) + 2.0) * (double)(a.count * a.n * a.width));
}

void count_work(const char *what, const SpGemm &a)
{
    count_add(what, COUNT_F32,
              CountWork{.launches = 1,
                        .operations = 2.0 * (double)a.m * (double)a.n * (double)a.k,
                        .filled = 1});
}

void count_launch(const char *what, int64_t, const SpConv2d &, int64_t, int64_t, int64_t, int64_t m,
                  void *, int64_t ld)
{
    memory(what, floats(2.0 * (double)(m * ld)));
}

void count_launch(const char *what, int64_t, const SpDeconv &a, int64_t, int64_t m, const float *)
{
    memory(what, floats(2.0 * (double)(m * a.s * a.s * a.cout)));
}

void count_launch(const char *what, int64_t grid, const SpAttention &a, int64_t, int64_t tiles,
                  const uint16_t *, const uint16_t *)
{
    const double units = (double)(grid / tiles), head = (double)a.head;
    count_add(what, COUNT_ATTENTION,
              CountWork{.launches = 1,
                        .bytes = units * head * (2 * count_element(a.operand) * (double)a.nq +
                                                 2 * 2.0 * (double)a.nk),
                        .operations = 4 * units * head * (double)a.nq * (double)a.nk,
                        .filled = 1});
}
