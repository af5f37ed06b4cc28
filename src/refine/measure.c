/* How fast points are refined here, on made frames. */
#include <stdlib.h>

#include "base/clock.h"
#include "refine/refine.h"

enum { SIDE = 256, FRAMES = 4, POINTS = 64, STEP = SIDE / 8 };

typedef struct Trial {
    float queries[3 * POINTS], xy[2 * FRAMES * POINTS], visibility[FRAMES * POINTS];
    float confidence[FRAMES * POINTS], sigma[FRAMES * POINTS];
    uint8_t rgb[3 * SIDE * SIDE];
} Trial;

/* Texture that moves by a pixel a frame. */
static void make_frame(Trial *trial, int64_t t)
{
    for (int64_t i = 0; i < SIDE * SIDE; i++) {
        const uint32_t x = (uint32_t)(i % SIDE + t) / 4, y = (uint32_t)(i / SIDE) / 4;
        const uint32_t hash = (x * 73856093u ^ y * 19349663u) * 2654435761u;
        trial->rgb[3 * i] = trial->rgb[3 * i + 1] = trial->rgb[3 * i + 2] = (uint8_t)(hash >> 24);
    }
}

/* Seconds a frame with that many points. */
static SpStatus run(Trial *trial, int64_t points, int threads, double *seconds)
{
    const SpRefineTracks tracks = {FRAMES,
                                   points,
                                   SIDE,
                                   SIDE,
                                   trial->queries,
                                   trial->xy,
                                   trial->visibility,
                                   trial->confidence,
                                   trial->sigma,
                                   threads,
                                   0};
    SpRefiner *refiner;
    for (int64_t i = 0; i < FRAMES * points; i++) {
        const int64_t n = i % points;
        float *query = trial->queries + 3 * n;
        query[0] = 0;
        query[1] = trial->xy[2 * i] = (float)(n % 8 * STEP + STEP / 2);
        query[2] = trial->xy[2 * i + 1] = (float)(n / 8 * STEP + STEP / 2);
        trial->visibility[i] = trial->confidence[i] = 1;
    }
    const SpStatus status = sp_refiner_open(&tracks, &refiner);
    double begun = 0;
    for (int64_t t = 0; t < FRAMES && status.code == SP_OK; t++) {
        if (t == 1)
            begun = sp_clock();
        make_frame(trial, t);
        sp_refiner_frame(refiner, t, trial->rgb);
    }
    *seconds = (sp_clock() - begun) / (FRAMES - 1);
    sp_refiner_close(refiner);
    return status;
}

SpStatus sp_refiner_measure(int threads, SpRefinerPace *pace)
{
    Trial *trial = malloc(sizeof *trial);
    double many = 0, one = 0;
    if (!trial)
        return sp_no_memory("a trial of the refinement");
    SpStatus status = run(trial, POINTS, threads, &many);
    if (status.code == SP_OK)
        status = run(trial, 1, threads, &one);
    free(trial);
    pace->pixel = one / (SIDE * SIDE);
    pace->point = many > one ? (many - one) / (POINTS - 1) : 0;
    return status;
}
