#include "output/csv.h"

#include <stdlib.h>

#include "output/formats.h"
#include "output/text.h"

typedef struct Table {
    const SpResult *result;
    const float *coords, *tracks2d;
} Table;

static const char heading[] = "track,frame,time,x,y,X,Y,Z,visible,confidence\n";

/* Track n in frame t of the arrays, which is number `frame` of the clip. */
static void print_row(FILE *stream, const Table *table, int64_t n, int64_t t, int64_t frame)
{
    const SpResult *r = table->result;
    const int64_t at = t * r->tracks + n;
    const float *xy = table->tracks2d + 2 * at, *world = table->coords + 3 * at;
    fprintf(stream, "%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%d,%.9g\n", (long long)n,
            (long long)frame, r->clip->timestamps[t], sp_text_number(xy[0]), sp_text_number(xy[1]),
            sp_text_number(world[0]), sp_text_number(world[1]), sp_text_number(world[2]),
            sp_result_visible(r, t, n), sp_text_number(r->confs[at]));
}

static void print_rows(FILE *stream, const void *what)
{
    const Table *table = what;
    const SpResult *r = table->result;
    fputs(heading, stream);
    for (int64_t n = 0; n < r->tracks; n++)
        for (int64_t t = 0; t < r->clip->frames && !ferror(stream); t++)
            print_row(stream, table, n, t, t);
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

/* Frame by frame, in the order of time. */
typedef struct Stream {
    const SpAtomicFile *file;
    Table table;
    float *memory; /* behind its arrays */
    int64_t room;  /* tracks that there is memory for */
    int64_t frame;
} Stream;

static void print_heading(FILE *stream, const void *what)
{
    (void)what;
    fputs(heading, stream);
}

static void print_frame(FILE *stream, const void *what)
{
    const Stream *s = what;
    for (int64_t n = 0; n < s->table.result->tracks && !ferror(stream); n++)
        print_row(stream, &s->table, n, 0, s->frame);
}

static SpStatus make_room(Stream *s, int64_t tracks)
{
    float *memory = realloc(s->memory, (size_t)(5 * tracks) * sizeof *memory);
    if (!memory)
        return sp_no_memory("the result");
    s->memory = memory;
    s->room = tracks;
    return sp_ok();
}

static SpStatus begin_frames(const SpAtomicFile *file, const SpOutput *output, void **stream)
{
    Stream *s = *stream = calloc(1, sizeof *s);
    if (!s)
        return sp_no_memory("the result");
    SP_TRY(make_room(s, output->result->tracks));
    s->file = file;
    return sp_text_print(file->stream, file->label, print_heading, NULL);
}

static SpStatus add_frame(void *stream, int64_t t, const SpResult *frame, uint8_t *rgb)
{
    Stream *s = stream;
    (void)rgb;
    if (frame->tracks > s->room)
        SP_TRY(make_room(s, frame->tracks));
    s->frame = t;
    s->table = (Table){frame, s->memory, s->memory + 3 * frame->tracks};
    sp_result_coords(frame, s->memory);
    sp_result_tracks2d(frame, s->memory + 3 * frame->tracks);
    return sp_text_print(s->file->stream, s->file->label, print_frame, s);
}

static SpStatus end_frames(void *stream, const SpResult *whole)
{
    (void)stream, (void)whole;
    return sp_ok();
}

static void discard_frames(void *stream)
{
    Stream *s = stream;
    free(s->memory);
    free(s);
}

static const SpFrameFormat frame_by_frame = {begin_frames, add_frame, end_frames, discard_frames};

const SpFormat sp_format_csv = {.product = SP_PRODUCT_RESULT,
                                .ending = ".csv",
                                .what = "a line a track and frame",
                                .needs_tracks = true,
                                .unused = SP_PART_CAMERAS | SP_PART_DEPTH | SP_PART_FRAMES,
                                .write = write_csv,
                                .frames = &frame_by_frame};
