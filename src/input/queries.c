#include "input/queries.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_LIMIT = 4096, MOST_QUERIES = 1 << 20 };

/* Where reading is, and what it found. */
typedef struct Reader {
    const char *path;
    int64_t frames;
    const SpFramePlan *plan;
    long long line;
    SpQueries *out;
    int64_t capacity; /* of out->query */
} Reader;

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

static bool parse_number(const char **at, double *value)
{
    /* strtod would also take nan, inf and hexadecimals. */
    const size_t length = strspn(*at, "+-.0123456789eE");
    char *end;
    *value = strtod(*at, &end);
    if (length == 0 || end != *at + length || !isfinite(*value))
        return false;
    *at = skip_spaces(end);
    return true;
}

/* The three numbers of a line, at which `at` stands behind leading spaces. */
static bool parse_query(const char *at, double query[3])
{
    for (int i = 0; i < 3; i++) {
        if (!parse_number(&at, &query[i]))
            return false;
        if (i < 2 && *at++ != ',')
            return false;
        at = skip_spaces(at);
    }
    return *at == 0;
}

static bool is_heading(const char *at)
{
    static const char letters[] = "t,x,y";
    for (int i = 0; letters[i]; i++, at = skip_spaces(at))
        if (*at++ != letters[i])
            return false;
    return *at == 0;
}

static SpStatus check_frame(const char *path, long long line, double t, int64_t frames)
{
    char last[24] = "";
    if (t == floor(t) && t >= 0 && t <= (double)(frames - 1))
        return sp_ok();
    if (frames < SP_ANY_FRAMES)
        snprintf(last, sizeof last, "%lld", (long long)frames - 1);
    return sp_error(SP_USAGE,
                    "%.300s:%lld: t is %.9g; it must be the number of a used frame, 0..%s", path,
                    line, t, last);
}

static SpStatus check_query(const Reader *reader, const double query[3])
{
    const int64_t extent[] = {reader->plan->input_width, reader->plan->input_height};
    SP_TRY(check_frame(reader->path, reader->line, query[0], reader->frames));
    for (int i = 0; i < 2; i++)
        if (!sp_frame_has(query[1 + i], extent[i]))
            return sp_error(SP_USAGE,
                            "%.300s:%lld: %c is %.9g; it must be -0.5..%.9g, in pixels of the "
                            "input video",
                            reader->path, reader->line, "xy"[i], query[1 + i],
                            (double)extent[i] - 0.5);
    const bool crops = reader->plan->height < reader->plan->resized_height;
    float x, y;
    sp_point_to_working(reader->plan, (float)query[1], (float)query[2], &x, &y);
    if (crops && (y < -0.5f || y > (float)reader->plan->height - 0.5f))
        return sp_error(SP_USAGE,
                        "%.300s:%lld: y is %.9g, which is cropped from a frame taller than wide; "
                        "use --portrait fit",
                        reader->path, reader->line, query[2]);
    return sp_ok();
}

static SpStatus add_query(Reader *reader, const double query[3])
{
    SpQueries *out = reader->out;
    if (out->count == MOST_QUERIES)
        return sp_error(SP_USAGE, "%.300s:%lld: more than %d queries", reader->path, reader->line,
                        MOST_QUERIES);
    if (out->count == reader->capacity) {
        const int64_t capacity = out->count ? 2 * out->count : 256;
        float *grown = realloc(out->query, (size_t)capacity * 3 * sizeof *grown);
        out->query = grown ? grown : out->query;
        int64_t *lines = realloc(out->line, (size_t)capacity * sizeof *lines);
        out->line = lines ? lines : out->line;
        if (!grown || !lines)
            return sp_no_memory(reader->path);
        reader->capacity = capacity;
    }
    for (int i = 0; i < 3; i++)
        out->query[3 * out->count + i] = (float)query[i];
    out->line[out->count++] = reader->line;
    return sp_ok();
}

static SpStatus read_line(Reader *reader, const char *text, bool *heading_allowed)
{
    static const char mark[] = "\xef\xbb\xbf"; /* UTF-8 byte order mark of spreadsheets */
    double query[3];
    if (reader->line == 1 && strncmp(text, mark, 3) == 0)
        text += 3;
    const char *at = skip_spaces(text);
    if (*at == 0 || *at == '#')
        return sp_ok();
    const bool heading = *heading_allowed && is_heading(at);
    *heading_allowed = false;
    if (heading)
        return sp_ok();
    if (!parse_query(at, query))
        return sp_error(SP_USAGE,
                        "%.300s:%lld: not a query; a line is t,x,y: used frame and pixel, such as "
                        "0,12.5,40",
                        reader->path, reader->line);
    SP_TRY(check_query(reader, query));
    return add_query(reader, query);
}

/* Reads a line without its end into `text`; false at the end of the file. A zero byte becomes a
 * character that no query has. */
static bool next_line(FILE *file, char text[LINE_LIMIT], bool *too_long)
{
    size_t length = 0;
    int c;
    *too_long = false;
    while ((c = getc(file)) != EOF && c != '\n')
        if (length + 1 < LINE_LIMIT)
            text[length++] = c ? (char)c : '?';
        else {
            *too_long = true;
            break;
        }
    text[length] = 0;
    return c != EOF || length;
}

static SpStatus read_lines(Reader *reader, FILE *file)
{
    char text[LINE_LIMIT];
    bool heading_allowed = true, too_long;
    while (next_line(file, text, &too_long)) {
        reader->line++;
        if (too_long)
            return sp_error(SP_USAGE, "%.300s:%lld: longer than %d characters; a line is t,x,y",
                            reader->path, reader->line, LINE_LIMIT - 1);
        SP_TRY(read_line(reader, text, &heading_allowed));
    }
    if (ferror(file))
        return sp_error(SP_INPUT, "%.400s: %s", reader->path, strerror(errno));
    if (reader->out->count == 0)
        return sp_error(SP_USAGE, "%.400s: no queries; a line is t,x,y: used frame and pixel",
                        reader->path);
    return sp_ok();
}

static SpStatus read_file(Reader *reader)
{
    FILE *file = fopen(reader->path, "re");
    if (!file)
        return sp_error(SP_INPUT, "%.400s: %s", reader->path, strerror(errno));
    SpStatus status = sp_no_memory(reader->path);
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a point in any locale */
    if (c) {
        const locale_t before = uselocale(c);
        status = read_lines(reader, file);
        uselocale(before);
        freelocale(c);
    }
    fclose(file);
    return status;
}

SpStatus sp_queries_check(const char *path, const SpQueries *queries, int64_t frames)
{
    for (int64_t n = 0; n < queries->count; n++)
        SP_TRY(check_frame(path, queries->line[n], (double)queries->query[3 * n], frames));
    return sp_ok();
}

SpStatus sp_queries_read(const char *path, int64_t frames, const SpFramePlan *plan, SpQueries *out)
{
    Reader reader = {.path = path, .frames = frames, .plan = plan, .out = out};
    *out = (SpQueries){0};
    const SpStatus status = read_file(&reader);
    if (status.code != SP_OK)
        sp_queries_free(out);
    return status;
}

/* Point i of n along an axis; one point stands in the middle. Frames below 64 pixels have no
 * margin: their last point is kept on the last pixel. */
static float grid_at(int64_t i, int64_t n, int64_t margin, int64_t extent)
{
    if (n == 1)
        return (float)extent / 2;
    const double at = (double)margin + (double)i / (double)(n - 1) * (double)(extent - 2 * margin);
    return (float)fmin(at, (double)(extent - 1));
}

SpStatus sp_queries_grid(int64_t n, int64_t frame, const SpFramePlan *plan, const uint8_t *mask,
                         SpQueries *out)
{
    const int64_t margin = plan->width / 64;
    uint8_t *working = mask ? malloc((size_t)(plan->height * plan->width)) : NULL;
    *out = (SpQueries){.query = malloc((size_t)(n * n) * 3 * sizeof *out->query),
                       .object = malloc((size_t)(n * n))};
    const bool allocated = out->query && out->object && (working || !mask);
    if (allocated && mask)
        sp_mask_to_working(plan, mask, working);
    for (int64_t i = 0; allocated && i < n * n; i++) {
        const float x = grid_at(i % n, n, margin, plan->width);
        const float y = grid_at(i / n, n, margin, plan->height);
        const uint8_t object = mask ? working[(int64_t)y * plan->width + (int64_t)x] : 1;
        if (!object)
            continue;
        float *query = out->query + 3 * out->count;
        query[0] = (float)frame;
        sp_point_to_input(plan, x, y, query + 1, query + 2);
        out->object[out->count++] = object;
    }
    free(working);
    if (out->count)
        return sp_ok();
    sp_queries_free(out);
    return allocated ? sp_error(SP_USAGE,
                                "no point of the %lld x %lld grid lies on the mask; use a finer "
                                "--grid, another --point or another --mask",
                                (long long)n, (long long)n)
                     : sp_no_memory("the queries");
}

SpStatus sp_queries_add(SpQueries *queries, const float query[3])
{
    const size_t count = (size_t)queries->count + 1;
    float *more = realloc(queries->query, 3 * count * sizeof *more);
    queries->query = more ? more : queries->query;
    uint8_t *object = realloc(queries->object, count);
    queries->object = object ? object : queries->object;
    if (!more || !object)
        return sp_no_memory("the queries");
    memcpy(more + 3 * queries->count, query, 3 * sizeof *more);
    object[queries->count++] = 1;
    return sp_ok();
}

void sp_queries_free(SpQueries *queries)
{
    free(queries->line);
    free(queries->query);
    free(queries->object);
    *queries = (SpQueries){0};
}
