/*
 * Matrix products out of packed operands (Goto and van de Geijn, "Anatomy of High-Performance
 * Matrix Multiplication", 2008). A product is computed in tiles of SP_TILE_ROWS x SP_PANEL sums
 * that stay in registers while they go through at most SP_DEPTH inputs. The rows of the left
 * operand lie SP_LEAD floats apart; the right one is packed in panels of SP_PANEL columns, [depth,
 * SP_PANEL] each. Every sum goes through its inputs in their order, in blocks that depend on their
 * number alone, so it is the same however rows and columns are cut.
 */
#ifndef SP_KERNELS_CPU_PRODUCT_H
#define SP_KERNELS_CPU_PRODUCT_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

enum {
    SP_DEPTH = 768,          /* inputs of a block */
    SP_LEAD = SP_DEPTH + 16, /* rows begin in different sets of the cache */
    SP_PANEL = 2 * SP_VL,
#if defined(__AVX512F__)
    SP_TILE_ROWS = 14, /* 28 of 32 registers hold sums */
    SP_GROUP_ROWS = 8 * SP_TILE_ROWS
#elif defined(__AVX2__)
    SP_TILE_ROWS = 6, /* 12 of 16 */
    SP_GROUP_ROWS = 16 * SP_TILE_ROWS
#else
    SP_TILE_ROWS = 4, /* 8 of 16 */
    SP_GROUP_ROWS = 8 * SP_TILE_ROWS
#endif
};

/* Columns with those that fill the last panel. */
static inline int64_t sp_padded(int64_t columns)
{
    return (columns + SP_PANEL - 1) / SP_PANEL * SP_PANEL;
}

/* The right operand whose columns are the rows of w [columns, depth], ldw apart, to
 * packed [sp_padded(columns) / SP_PANEL, depth, SP_PANEL]: zero beyond the columns. */
#define sp_pack_transposed SP_FN(sp_pack_transposed)
void sp_pack_transposed(const float *w, int64_t ldw, int64_t columns, int64_t depth, float *packed);

/* Likewise of w [depth, columns], rows ldw apart; of a last panel that is at most half full, the
 * other half is left alone. */
#define sp_pack_rows SP_FN(sp_pack_rows)
void sp_pack_rows(const float *w, int64_t ldw, int64_t columns, int64_t depth, float *packed);

/* c = a b, or c += a b. */
typedef struct SpMultiply {
    const float *a;      /* [rows, depth], SP_LEAD apart */
    int64_t rows, depth; /* depth at most SP_DEPTH */
    const float *b;      /* packed */
    int64_t columns;
    bool add;
    float *c; /* [rows, sp_padded(columns)], ldc apart */
    int64_t ldc;
    int64_t ldb; /* 0: b is packed; else its rows [depth, columns] lie so far apart, columns being a
                    multiple of SP_VL */
} SpMultiply;

#define sp_multiply SP_FN(sp_multiply)
void sp_multiply(const SpMultiply *call);

/* Inputs of each block when there are `in`: even shares of at most SP_DEPTH. */
static inline int64_t sp_block_depth(int64_t in)
{
    const int64_t blocks = (in + SP_DEPTH - 1) / SP_DEPTH;
    return (in + blocks - 1) / blocks;
}

/* `count` weights of a half dtype from element `begin` on, as float32. */
#define sp_widen SP_FN(sp_widen)
void sp_widen(const SpTensor *w, int64_t begin, int64_t count, float *out);

/* Rows that can be multiplied where they lie: lda floats apart, each of so many runs of `run`
 * inputs, which begin `apart` floats from one another. */
typedef struct SpRows {
    const float *a;
    int64_t lda, runs, run, apart;
} SpRows;

/* A product of rows that are made as they are needed with weights, whose sums are used as soon as
 * they are whole. `load` writes inputs first .. first + count of `rows` rows to `to`, SP_LEAD
 * apart; `finish` gets the sums [rows, n] from output `out` on, rows `lead` apart; both also get
 * `of`. `lie`, where there is one, says whether `rows` rows, at most SP_TILE_ROWS, can be taken
 * where they lie; then they are not loaded. */
typedef struct SpProduct {
    int64_t rows;
    SpTensor w; /* [outs, in] F32, F16 or BF16 */
    const void *of;
    void (*load)(const void *of, int64_t row, int64_t rows, int64_t first, int64_t count,
                 float *to);
    bool (*lie)(const void *of, int64_t row, int64_t rows, SpRows *where);
    void (*finish)(const void *of, int64_t row, int64_t rows, int64_t out, int64_t n,
                   const float *sums, int64_t lead);
} SpProduct;

#define sp_product SP_FN(sp_product)
void sp_product(SpDevice *device, const SpProduct *p);

#endif
