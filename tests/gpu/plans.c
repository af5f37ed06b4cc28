/*
 * What cuDNN plans for the published models' attention and convolutions, on cards that are only
 * described: no card is needed. Exits 77 where there is no cuDNN.
 *
 *     gpu-plans
 *
 * A library by the name of the driver's must be there for cuDNN to load, though nothing of it is
 * called: tests/gpu/standin/driver/driver.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gpu/check.h"
#include "kernels/cuda/libraries.h"

/* Cards as cuDNN describes them to itself (an H200's; of the others, what differs). */
typedef struct Card {
    const char *name;
    int capability, processors, shared, threads, blocks; /* shared: bytes a block may ask for */
    int l2;                                              /* MB */
} Card;
static const Card cards[] = {
    {"A100", 800, 108, 166912, 2048, 32, 40},     {"RTX 3090", 860, 82, 101376, 1536, 16, 6},
    {"RTX 4090", 890, 128, 101376, 1536, 24, 72}, {"H200", 900, 132, 232448, 2048, 32, 60},
    {"B200", 1000, 148, 232448, 2048, 32, 126},   {"RTX 5090", 1200, 170, 101376, 1536, 24, 96},
};

static void describe(const Card *c, char *text, size_t size)
{
    snprintf(text, size,
             "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
             "\"regsPerBlock\":65536,\"multiProcessorCount\":%d,\"warpSize\":32,"
             "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":%d,"
             "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
             "\"maxCtasPerSM\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
             "\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"
             "\"totalGlobalMem\":85899345920,\"smClockRateKHz\":1980000,"
             "\"memClockRateKHz\":3201000,\"l2CacheSize\":%d,\"cudaDeviceId\":0,"
             "\"deviceVer\":%d,\"driverVer\":13000,\"deviceName\":\"NVIDIA %s\"}",
             c->processors, c->shared, c->blocks, c->threads, c->l2 << 20, c->capability, c->name);
}

/* The global attention of 100 frames of 336 x 518 as a whole, of 80 of 294 x 518 in chunks of
 * queries, and a wider head. cuDNN compiles each, in about a second. */
static const SpFused attentions[] = {
    {.units = 2, .nq = 89300, .nk = 89300, .head = 64},
    {.units = 2, .nq = 12288, .nk = 62560, .head = 64},
    {.units = 2, .nq = 3000, .nk = 62560, .head = 128},
};

/* Convolutions of the depth head, the patch embedding, the tracker's encoder and SAM. */
static const SpConv2d convolutions[] = {
    {.h = 24,
     .w = 37,
     .cin = 1024,
     .ldx = 1024,
     .cout = 1024,
     .kh = 3,
     .kw = 3,
     .stride = 2,
     .pad = 1},
    {.h = 96,
     .w = 148,
     .cin = 256,
     .ldx = 256,
     .cout = 256,
     .kh = 3,
     .kw = 3,
     .stride = 1,
     .pad = 1},
    {.h = 192,
     .w = 296,
     .cin = 256,
     .ldx = 256,
     .cout = 128,
     .kh = 3,
     .kw = 3,
     .stride = 1,
     .pad = 1},
    {.h = 336,
     .w = 518,
     .cin = 128,
     .ldx = 128,
     .cout = 32,
     .kh = 3,
     .kw = 3,
     .stride = 1,
     .pad = 1},
    {.h = 336, .w = 518, .cin = 3, .ldx = 3, .cout = 1024, .kh = 14, .kw = 14, .stride = 14},
    {.h = 384, .w = 512, .cin = 3, .ldx = 3, .cout = 64, .kh = 7, .kw = 7, .stride = 2, .pad = 3},
    {.h = 192, .w = 256, .cin = 64, .ldx = 64, .cout = 64, .kh = 3, .kw = 3, .stride = 1, .pad = 1},
    {.h = 96,
     .w = 128,
     .cin = 416,
     .ldx = 416,
     .cout = 256,
     .kh = 3,
     .kw = 3,
     .stride = 1,
     .pad = 1},
    {.h = 64,
     .w = 64,
     .cin = 256,
     .ldx = 256,
     .cout = 256,
     .kh = 3,
     .kw = 3,
     .stride = 1,
     .pad = 1},
};

static void plan_attentions(SpCuda *cuda, const Card *card)
{
    cuda->format = SP_BF16;
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++) {
        const SpFused *a = &attentions[i];
        check(sp_cuda_dnn_has_attention(cuda, a), "%s: attention of %d units, %d queries, %d keys",
              card->name, (int)a->units, (int)a->nq, (int)a->nk);
    }
}

static void plan_convolutions(SpCuda *cuda, const Card *card, bool tf32)
{
    cuda->format = SP_F32;
    cuda->tf32 = tf32;
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        for (int64_t images = 1; images <= 4; images += 3) { /* of the depth head, one or four */
            SpConv2d c = convolutions[i];
            c.n = images;
            check(sp_cuda_dnn_has_conv(cuda, &c), "%s: convolution of %d %dx%dx%d to %d, %s",
                  card->name, (int)c.n, (int)c.h, (int)c.w, (int)c.cin, (int)c.cout,
                  tf32 ? "TF32" : "float32");
        }
}

int main(void)
{
    printf("# cuDNN %zu\n", sp_cuda_dnn_version());
    if (sp_cuda_dnn_version() == 0) {
        puts("no cuDNN to ask");
        return 77;
    }
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        char text[1024];
        SpCuda cuda = {.major = cards[i].capability / 100};
        describe(&cards[i], text, sizeof text);
        if (check_status(sp_cuda_dnn_open_for(&cuda, text), cards[i].name)) {
            if (cuda.major >= 9)
                plan_attentions(&cuda, &cards[i]);
            plan_convolutions(&cuda, &cards[i], true);
            plan_convolutions(&cuda, &cards[i], false);
        }
        sp_cuda_dnn_close(&cuda);
    }
    return check_end();
}
