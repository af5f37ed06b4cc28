/* Norms, maps and the tracker's ops. */
#include <stdlib.h>
#include <string.h>

#include "gpu/scope.h"

enum { NORM_ROWS = 9, NORM_WIDTH = 131, NORM_LD = 140 };
static void layer_norm(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, NORM_ROWS * NORM_LD * sizeof *y);
    device->ops.layer_norm(device, &(SpLayerNorm){.x = out,
                                                  .rows = NORM_ROWS,
                                                  .width = NORM_WIDTH,
                                                  .ldx = NORM_LD,
                                                  .weight = put_noise(&s, "w", NORM_WIDTH),
                                                  .bias = put_noise(&s, "b", NORM_WIDTH),
                                                  .eps = 1e-6f,
                                                  .y = out,
                                                  .ldy = NORM_LD});
    get(&s, out, y, NORM_ROWS * NORM_LD);
    end(&s);
}

static void layer_norm_plain(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, NORM_ROWS * NORM_WIDTH * sizeof *y);
    device->ops.layer_norm(device, &(SpLayerNorm){put_noise(&s, "x", NORM_ROWS * NORM_LD),
                                                  NORM_ROWS, NORM_WIDTH, NORM_LD, NULL, NULL, 1e-5f,
                                                  out, NORM_WIDTH, false});
    get(&s, out, y, NORM_ROWS * NORM_WIDTH);
    end(&s);
}

enum { IMAGES = 2, PIXELS = 2500, CHANNELS = 19 };
static void instance_norm(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, IMAGES * PIXELS * CHANNELS * sizeof *y);
    device->ops.instance_norm(device,
                              &(SpInstanceNorm){out, IMAGES, PIXELS, CHANNELS, 1e-5f, true, out});
    get(&s, out, y, IMAGES * PIXELS * CHANNELS);
    end(&s);
}

enum { MAP = 1200, PERIOD = 120 };
static void map_case(SpDevice *device, float *y, float scale, int64_t period, SpActivation act)
{
    Scope s = {.device = device};
    float *out = put(&s, y, MAP * sizeof *y);
    device->ops.elementwise(device, &(SpElementwise){put_noise(&s, "x", MAP), MAP, scale,
                                                     period < 0 ? NULL : put_noise(&s, "add", MAP),
                                                     period < 0 ? 0 : period, act, out});
    get(&s, out, y, MAP);
    end(&s);
}

static void map_gelu(SpDevice *device, float *y)
{
    map_case(device, y, 6, 0, SP_GELU);
}

static void map_periodic(SpDevice *device, float *y)
{
    map_case(device, y, 6, PERIOD, SP_SILU);
}

static void map_relu(SpDevice *device, float *y)
{
    map_case(device, y, 1, -1, SP_RELU);
}

enum { MAPS = 3, MAP_H = 6, MAP_W = 5, MAP_C = 14 };
static void axis_add(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *x = put(&s, y, MAPS * MAP_H * MAP_W * MAP_C * sizeof *y);
    device->ops.axis_add(device, &(SpAxisAdd){x, MAPS, MAP_H, MAP_W, MAP_C,
                                              put_noise(&s, "u", MAP_W * MAP_C / 2),
                                              put_noise(&s, "v", MAP_H * MAP_C / 2)});
    get(&s, x, y, MAPS * MAP_H * MAP_W * MAP_C);
    end(&s);
}

static void modulate(SpDevice *device, float *y)
{
    enum { N = 7, WIDTH = 31 };
    Scope s = {.device = device};
    float *out = put(&s, y, N * WIDTH * sizeof *y);
    device->ops.modulate(device, &(SpModulate){put_noise(&s, "n", N * WIDTH),
                                               put_noise(&s, "m", N * WIDTH * 3),
                                               put_noise(&s, "c", N * WIDTH), N, WIDTH, out});
    get(&s, out, y, N * WIDTH);
    end(&s);
}

enum { RESIZE_H = 13, RESIZE_W = 19, RESIZE_LD = 11 };
static void resize(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, 2 * RESIZE_H * RESIZE_W * RESIZE_LD * sizeof *y);
    device->ops.resize(device, &(SpResize){put_noise(&s, "x", 2 * 6 * 7 * 9), 2, 6, 7, 9, out,
                                           RESIZE_H, RESIZE_W, RESIZE_LD});
    get(&s, out, y, 2 * RESIZE_H * RESIZE_W * RESIZE_LD);
    end(&s);
}

static void average_pool(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, 2 * 3 * 4 * 5 * sizeof *y);
    device->ops.average_pool(device,
                             &(SpAveragePool){put_noise(&s, "x", 2 * 7 * 9 * 5), 2, 7, 9, 5, out});
    get(&s, out, y, 2 * 3 * 4 * 5);
    end(&s);
}

enum { SHADES = 611 };
static void normalize_image(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, 3 * SHADES * sizeof *y);
    device->ops.normalize_image(device, &(SpNormalizeImage){put_noise(&s, "x", 3 * SHADES),
                                                            SHADES,
                                                            255,
                                                            {0.485f, 0.456f, 0.406f},
                                                            {0.229f, 0.224f, 0.225f},
                                                            out});
    get(&s, out, y, 3 * SHADES);
    end(&s);
}

static void depth_activation(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, 2 * SHADES * sizeof *y);
    device->ops.depth_activation(
        device, &(SpDepthActivation){put_noise(&s, "x", 2 * SHADES), SHADES, out, out + SHADES});
    get(&s, out, y, 2 * SHADES);
    end(&s);
}

/* ---- the tracker's ops ---- */

enum { FRAMES = 3, MAP_ROWS = 11, MAP_COLUMNS = 14, PAIRS = 6 };

/* Points inside, at the edges and far outside the map; the last pair's frame too. */
static void points(float *xy, float *frame)
{
    static const float at[2 * PAIRS] = {4.3f, 5.7f, 0, 0,    12.9f, 10.2f,
                                        -40,  3.5f, 5, 1e9f, 7.5f,  2};
    memcpy(xy, at, sizeof at);
    for (int p = 0; p < PAIRS; p++)
        frame[p] = p == PAIRS - 1 ? 9 : (float)(p % FRAMES);
}

static void sample_case(SpDevice *device, float *y, int64_t c, const int32_t *pick, int64_t picks)
{
    enum { SIDE = 7 };
    float xy[2 * PAIRS], frame[PAIRS];
    const int64_t samples = pick ? picks : SIDE * SIDE, ldy = c + 2;
    points(xy, frame);
    Scope s = {.device = device};
    float *out = put(&s, y, (size_t)(PAIRS * samples * ldy) * sizeof *y);
    device->ops.sample_patches(
        device, &(SpSamplePatches){
                    .map = put_noise(&s, "map", FRAMES * MAP_ROWS * MAP_COLUMNS * c),
                    .frames = FRAMES,
                    .h = MAP_ROWS,
                    .w = MAP_COLUMNS,
                    .c = c,
                    .xy = put(&s, xy, sizeof xy),
                    .frame = put(&s, frame, sizeof frame),
                    .pairs = PAIRS,
                    .side = SIDE,
                    .pick = pick ? put(&s, pick, (size_t)(PAIRS * picks) * sizeof *pick) : NULL,
                    .picks = picks,
                    .out = out,
                    .ldy = ldy});
    get(&s, out, y, PAIRS * samples * ldy);
    end(&s);
}

static void sample_patches(SpDevice *device, float *y)
{
    sample_case(device, y, 3, NULL, 0);
}

static void sample_picked(SpDevice *device, float *y)
{
    int32_t pick[PAIRS * 5];
    for (int i = 0; i < PAIRS * 5; i++)
        pick[i] = i * 11 % 49;
    sample_case(device, y, 20, pick, 5);
}

static void correlate_case(SpDevice *device, float *y, int64_t side, int64_t c)
{
    enum { RUN = 3 };
    const int64_t n = side * side;
    float xy[2 * PAIRS], frame[PAIRS];
    points(xy, frame);
    Scope s = {.device = device};
    float *out = put(&s, y, (size_t)(PAIRS * n * n) * sizeof *y);
    device->ops.correlate(
        device, &(SpCorrelate){.map = put_noise(&s, "map", FRAMES * MAP_ROWS * MAP_COLUMNS * c),
                               .frames = FRAMES,
                               .h = MAP_ROWS,
                               .w = MAP_COLUMNS,
                               .c = c,
                               .xy = put(&s, xy, sizeof xy),
                               .frame = put(&s, frame, sizeof frame),
                               .pairs = PAIRS,
                               .run = RUN,
                               .side = side,
                               .templates = put_noise(&s, "templates", PAIRS / RUN * n * c),
                               .out = out});
    get(&s, out, y, PAIRS * n * n);
    end(&s);
}

static void correlate(SpDevice *device, float *y)
{
    correlate_case(device, y, 7, 40);
}

static void correlate_large(SpDevice *device, float *y)
{
    correlate_case(device, y, 9, 20);
}

enum { POINTS = 49, KEEP = 16 };
static void knn(SpDevice *device, float *y)
{
    int32_t index[PAIRS * KEEP];
    float *cloud = op_noise("points", PAIRS * POINTS * 3);
    memcpy(cloud + 3 * 40, cloud + 3 * 7, 3 * sizeof *cloud); /* as far as an earlier one */
    Scope s = {.device = device};
    SpKnn a = {.points = put(&s, cloud, PAIRS * POINTS * 3 * sizeof *cloud),
               .origin = put_noise(&s, "origin", PAIRS * 3),
               .pairs = PAIRS,
               .count = POINTS,
               .keep = KEEP,
               .index = put(&s, index, sizeof index),
               .vector = put(&s, y, PAIRS * KEEP * 3 * sizeof *y)};
    device->ops.knn(device, &a);
    transfer(&s, SP_DOWNLOAD, index, a.index, sizeof index);
    get(&s, a.vector, y, PAIRS * KEEP * 3);
    for (int i = 0; i < PAIRS * KEEP; i++)
        y[PAIRS * KEEP * 3 + i] = (float)index[i];
    end(&s);
    free(cloud);
}

enum { SMALL_ROWS = 13, SMALL_C = 10, SMALL_LD = 15 };
static void posenc(SpDevice *device, float *y)
{
    enum { C = 3, DEGREE = 10, LD = C * (1 + 2 * DEGREE) + 1 };
    Scope s = {.device = device};
    float *out = put(&s, y, SMALL_ROWS * LD * sizeof *y);
    device->ops.posenc(
        device, &(SpPosenc){put_noise(&s, "v", SMALL_ROWS * 4), SMALL_ROWS, C, 4, DEGREE, out, LD});
    get(&s, out, y, SMALL_ROWS * LD);
    end(&s);
}

static void group_mean(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, 5 * SMALL_C * sizeof *y);
    device->ops.group_mean(
        device, &(SpGroupMean){put_noise(&s, "x", 5 * 16 * SMALL_C), 5, 16, SMALL_C, out});
    get(&s, out, y, 5 * SMALL_C);
    end(&s);
}

static void gather_rows(SpDevice *device, float *y)
{
    enum { GROUPS = 4, COUNT = 9, PICKS = 3 };
    int32_t index[GROUPS * PICKS];
    for (int i = 0; i < GROUPS * PICKS; i++)
        index[i] = i * 5 % COUNT;
    Scope s = {.device = device};
    float *out = put(&s, y, GROUPS * PICKS * SMALL_LD * sizeof *y);
    device->ops.gather_rows(device, &(SpGatherRows){put_noise(&s, "x", GROUPS * COUNT * SMALL_C),
                                                    put(&s, index, sizeof index), GROUPS, COUNT,
                                                    PICKS, SMALL_C, out, SMALL_LD});
    get(&s, out, y, GROUPS * PICKS * SMALL_LD);
    end(&s);
}

static void add_rows(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *x = put(&s, y, SMALL_ROWS * SMALL_C * sizeof *y);
    device->ops.add_rows(device, &(SpAddRows){x, put_noise(&s, "other", SMALL_ROWS * SMALL_LD),
                                              SMALL_LD, SMALL_ROWS, SMALL_C});
    get(&s, x, y, SMALL_ROWS * SMALL_C);
    end(&s);
}

static void scale_rows(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *out = put(&s, y, SMALL_ROWS * SMALL_LD * sizeof *y);
    device->ops.scale_rows(device, &(SpScaleRows){put_noise(&s, "x", SMALL_ROWS * SMALL_C),
                                                  put_noise(&s, "factor", SMALL_ROWS), SMALL_ROWS,
                                                  SMALL_C, out, SMALL_LD});
    get(&s, out, y, SMALL_ROWS * SMALL_LD);
    end(&s);
}

static void l2_normalize(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    memset(y, 0, SMALL_C * sizeof *y); /* a row without a length */
    float *x = put(&s, y, SMALL_ROWS * SMALL_C * sizeof *y);
    device->ops.l2_normalize(device, &(SpL2Normalize){x, SMALL_ROWS, SMALL_C});
    get(&s, x, y, SMALL_ROWS * SMALL_C);
    end(&s);
}

/* Rows apart, up, across and down. */
static void copy(SpDevice *device, float *y)
{
    Scope s = {.device = device};
    float *rows = op_noise("rows", SMALL_ROWS * SMALL_C);
    float *middle = put_noise(&s, "middle", SMALL_ROWS * SMALL_C);
    float *out = put(&s, y, SMALL_ROWS * SMALL_LD * sizeof *y);
    const size_t c = SMALL_C * sizeof *y, ld = SMALL_LD * sizeof *y;
    device->ops.copy(device, &(SpCopy){SP_UPLOAD, middle, c, rows, c, c - 8, SMALL_ROWS});
    device->ops.copy(device, &(SpCopy){SP_ON_DEVICE, out, ld, middle, 0, c, SMALL_ROWS / 2});
    device->ops.copy(device, &(SpCopy){SP_DOWNLOAD, y, ld, out, ld, c, SMALL_ROWS / 2});
    end(&s);
    free(rows);
}

const OpCase op_small[] = {
    {"layer norm", layer_norm, NORM_ROWS *NORM_LD, 1e-5, 0, false},
    {"layer norm plain", layer_norm_plain, NORM_ROWS *NORM_WIDTH, 1e-5, 0, false},
    {"instance norm", instance_norm, IMAGES *PIXELS *CHANNELS, 1e-5, 0, false},
    {"map gelu", map_gelu, MAP, 2e-6, 0, false},
    {"map periodic", map_periodic, MAP, 2e-6, 0, false},
    {"map relu", map_relu, MAP, 0, 0, false},
    {"axis add", axis_add, MAPS *MAP_H *MAP_W *MAP_C, 0, 0, false},
    {"modulate", modulate, 7 * 31, 1e-6, 0, false},
    {"resize", resize, 2 * RESIZE_H *RESIZE_W *RESIZE_LD, 5e-6, 0, false},
    {"average pool", average_pool, 2 * 3 * 4 * 5, 1e-6, 0, false},
    {"normalize image", normalize_image, 3 * SHADES, 0, 0, false},
    {"depth activation", depth_activation, 2 * SHADES, 1e-6, 0, false},
    {"sample patches", sample_patches, PAIRS * 49 * 5, 2e-6, 0, false},
    {"sample picked", sample_picked, PAIRS * 5 * 22, 2e-6, 0, false},
    {"correlate", correlate, PAIRS * 49 * 49, 1e-5, 0, false},
    {"correlate large", correlate_large, PAIRS * 81 * 81, 1e-5, 0, false},
    {"knn", knn, PAIRS *KEEP * 4, 1e-6, 0, false},
    {"posenc", posenc, SMALL_ROWS * 64, 2e-6, 0, false},
    {"group mean", group_mean, 5 * SMALL_C, 1e-6, 0, false},
    {"gather rows", gather_rows, 4 * 3 * SMALL_LD, 0, 0, false},
    {"add rows", add_rows, SMALL_ROWS *SMALL_C, 0, 0, false},
    {"scale rows", scale_rows, SMALL_ROWS *SMALL_LD, 1e-6, 0, false},
    {"l2 normalize", l2_normalize, SMALL_ROWS *SMALL_C, 1e-6, 0, false},
    {"copy", copy, SMALL_ROWS *SMALL_LD, 0, 0, false},
};
const size_t op_small_count = sizeof op_small / sizeof *op_small;
