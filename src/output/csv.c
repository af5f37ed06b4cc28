#include "output/csv.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "output/formats.h"

/* printf may write "-nan". */
static double plain(float value)
{
    return isnan(value) ? (double)NAN : (double)value;
}

static bool write_rows(FILE *stream, const SpResult *r, const float *coords, const float *tracks2d)
{
    if (fputs("track,frame,time,x,y,X,Y,Z,visible,confidence\n", stream) < 0)
        return false;
    for (int64_t n = 0; n < r->tracks; n++)
        for (int64_t t = 0; t < r->clip->frames; t++) {
            const int64_t at = t * r->tracks + n;
            const float *xy = tracks2d + 2 * at, *world = coords + 3 * at;
            if (fprintf(stream, "%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%d,%.9g\n", (long long)n,
                        (long long)t, r->clip->timestamps[t], plain(xy[0]), plain(xy[1]),
                        plain(world[0]), plain(world[1]), plain(world[2]),
                        sp_result_visible(r, t, n), plain(r->confs[at])) < 0)
                return false;
        }
    return fflush(stream) == 0;
}

SpStatus sp_csv_write(FILE *stream, const char *label, const SpResult *result, const float *coords,
                      const float *tracks2d)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return sp_no_memory(label);
    const locale_t before = uselocale(c);
    errno = 0;
    const SpStatus status =
        write_rows(stream, result, coords, tracks2d) ? sp_ok() : sp_cannot_write(label);
    uselocale(before);
    freelocale(c);
    return status;
}

static SpStatus write_csv(const SpAtomicFile *file, const SpOutput *output)
{
    const SpResult *r = output->result;
    const int64_t pairs = r->clip->frames * r->tracks;
    float *coords = malloc((size_t)(5 * pairs) * sizeof *coords);
    if (!coords)
        return sp_no_memory("the result");
    float *tracks2d = coords + 3 * pairs;
    sp_result_coords(r, coords);
    sp_result_tracks2d(r, tracks2d);
    const SpStatus status = sp_csv_write(file->stream, file->label, r, coords, tracks2d);
    free(coords);
    return status;
}

const SpFormat sp_format_csv = {.product = SP_PRODUCT_RESULT,
                                .ending = ".csv",
                                .what = "a line a track and frame",
                                .needs_tracks = true,
                                .write = write_csv};
