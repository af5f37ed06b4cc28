#include "output/csv.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output/format.h"

/* printf may write "-nan". */
static double plain(float value)
{
    return isnan(value) ? (double)NAN : (double)value;
}

static bool write_row(FILE *stream, const SpTrackTable *table, int64_t n, int64_t t)
{
    const int64_t at = t * table->tracks + n;
    const float *pixel = table->tracks2d + 2 * at, *point = table->coords + 3 * at;
    return fprintf(stream, "%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%d,%.9g\n", (long long)n,
                   (long long)t, table->time[t], plain(pixel[0]), plain(pixel[1]), plain(point[0]),
                   plain(point[1]), plain(point[2]), table->visibs[at] > 0.5f,
                   plain(table->confs[at])) > 0;
}

static bool write_rows(FILE *stream, const SpTrackTable *table)
{
    if (fputs("track,frame,time,x,y,X,Y,Z,visible,confidence\n", stream) < 0)
        return false;
    for (int64_t n = 0; n < table->tracks; n++)
        for (int64_t t = 0; t < table->frames; t++)
            if (!write_row(stream, table, n, t))
                return false;
    return fflush(stream) == 0;
}

SpStatus sp_csv_write(FILE *stream, const char *label, const SpTrackTable *table)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return sp_no_memory(label);
    const locale_t before = uselocale(c);
    errno = 0;
    const bool written = write_rows(stream, table);
    const int error = errno ? errno : EIO;
    uselocale(before);
    freelocale(c);
    return written ? sp_ok()
                   : sp_error(SP_OUTPUT, "cannot write %.400s: %s", label, strerror(error));
}

static SpStatus write_csv(const SpAtomicFile *file, const SpOutput *output)
{
    const SpResult *r = output->result;
    const int64_t pairs = r->clip->frames * r->tracks;
    float *work = malloc((size_t)(5 * pairs) * sizeof *work);
    if (!work)
        return sp_no_memory("the result");
    sp_result_coords(r, work);
    sp_result_tracks2d(r, work + 3 * pairs);
    const SpTrackTable table = {.frames = r->clip->frames,
                                .tracks = r->tracks,
                                .time = r->clip->timestamps,
                                .tracks2d = work + 3 * pairs,
                                .coords = work,
                                .visibs = r->visibility,
                                .confs = r->confs,
                                .frame_index = r->clip->index};
    const SpStatus status = sp_csv_write(file->stream, file->label, &table);
    free(work);
    return status;
}

const SpFormat sp_format_csv = {.product = SP_PRODUCT_RESULT,
                                .ending = ".csv",
                                .what = "a line a track and frame",
                                .needs_tracks = true,
                                .write = write_csv};
