#include "output/csv.h"

#include <stdlib.h>

#include "output/formats.h"
#include "output/text.h"

typedef struct Table {
    const SpResult *result;
    const float *coords, *tracks2d;
} Table;

static void print_rows(FILE *stream, const void *what)
{
    const Table *table = what;
    const SpResult *r = table->result;
    fputs("track,frame,time,x,y,X,Y,Z,visible,confidence\n", stream);
    for (int64_t n = 0; n < r->tracks; n++)
        for (int64_t t = 0; t < r->clip->frames && !ferror(stream); t++) {
            const int64_t at = t * r->tracks + n;
            const float *xy = table->tracks2d + 2 * at, *world = table->coords + 3 * at;
            fprintf(stream, "%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%d,%.9g\n", (long long)n,
                    (long long)t, r->clip->timestamps[t], sp_text_number(xy[0]),
                    sp_text_number(xy[1]), sp_text_number(world[0]), sp_text_number(world[1]),
                    sp_text_number(world[2]), sp_result_visible(r, t, n),
                    sp_text_number(r->confs[at]));
        }
}

SpStatus sp_csv_write(FILE *stream, const char *label, const SpResult *result, const float *coords,
                      const float *tracks2d)
{
    const Table table = {result, coords, tracks2d};
    return sp_text_print(stream, label, print_rows, &table);
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
                                .unused = SP_PART_CAMERAS | SP_PART_DEPTH | SP_PART_FRAMES,
                                .write = write_csv};
