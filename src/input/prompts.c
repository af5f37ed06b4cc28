#include "input/prompts.h"

#include <math.h>
#include <string.h>

#include "media/frame_plan.h"

/* One --point or --box taken apart. */
typedef struct Argument {
    int64_t object;
    double number[4]; /* of a point two */
    bool background;
} Argument;

/* Digits with a point, in any locale, and a sign; moves *at behind them. */
static bool read_number(const char **at, double *value)
{
    const bool negative = **at == '-';
    const char *from = *at += negative || **at == '+';
    double scale = 1;
    *value = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        *value = 10 * *value + (**at - '0');
    if (**at == '.')
        for (++*at; **at >= '0' && **at <= '9'; ++*at) {
            scale /= 10;
            *value += scale * (**at - '0');
        }
    const bool fine = *at - from > (*from == '.') && *value < 1e9;
    *value = negative ? -*value : *value;
    return fine;
}

/* `count` numbers with commas in between. */
static bool read_numbers(const char **at, int count, double *number)
{
    for (int i = 0; i < count; i++) {
        if (i > 0 && *(*at)++ != ',')
            return false;
        if (!read_number(at, &number[i]))
            return false;
    }
    return true;
}

/* The object called `name`, a new one if there is none. */
static int64_t object_of(SpPrompts *out, const char *name, size_t length)
{
    int64_t i = 0;
    while (i < out->objects &&
           (strlen(out->name[i]) != length || memcmp(out->name[i], name, length) != 0))
        i++;
    if (i == out->objects) {
        memcpy(out->name[i], name, length);
        out->name[i][length] = 0;
        out->objects++;
    }
    return i;
}

/* Takes "NAME=" off the text. */
static SpStatus read_name(SpPrompts *out, const char *flag, const char **text, int64_t *object)
{
    static const char unnamed[] = "object";
    const char *equals = strrchr(*text, '=');
    if (!equals) {
        *object = object_of(out, unnamed, sizeof unnamed - 1);
        return sp_ok();
    }
    const size_t length = (size_t)(equals - *text);
    if (length == 0 || length >= SP_OBJECT_NAME)
        return sp_error(SP_USAGE, "--%s \"%.80s\": a name has 1 to %d bytes", flag, *text,
                        SP_OBJECT_NAME - 1);
    *object = object_of(out, *text, length);
    out->named = true;
    *text = equals + 1;
    return sp_ok();
}

static SpStatus read_argument(SpPrompts *out, bool box, const char *text, Argument *prompt)
{
    const char *at = text, *flag = box ? "box" : "point";
    SP_TRY(read_name(out, flag, &at, &prompt->object));
    const bool numbers = read_numbers(&at, box ? 4 : 2, prompt->number);
    prompt->background = !box && numbers && strcmp(at, ",-") == 0;
    if (numbers && (!*at || prompt->background))
        return sp_ok();
    return sp_error(SP_USAGE,
                    "--%s takes %s in pixels of the video, with NAME= in front for several "
                    "objects, not \"%.80s\"",
                    flag, box ? "X0,Y0,X1,Y1" : "X,Y or X,Y,-", text);
}

static SpStatus read_box(SpPrompts *out, const char *text, double box[4])
{
    Argument argument;
    SP_TRY(read_argument(out, true, text, &argument));
    const double *n = memcpy(box, argument.number, sizeof argument.number);
    if (n[2] <= n[0] || n[3] <= n[1])
        return sp_error(SP_USAGE,
                        "--box %.80s has no area; X0,Y0 is its upper left corner, X1,Y1 its lower "
                        "right one",
                        text);
    SpPrompt *prompt = &out->prompt[argument.object];
    if (prompt->box)
        return sp_error(SP_USAGE, "--box %.80s is a second box for %s", text,
                        out->name[argument.object]);
    prompt->box = box;
    return sp_ok();
}

/* The points of object `index` behind the `used` ones of those before it. */
static SpStatus group_points(SpPrompts *out, int64_t index, const Argument *points, int64_t count,
                             int64_t *used)
{
    SpPrompt *prompt = &out->prompt[index];
    bool any = prompt->box != NULL;
    prompt->point = out->point + 2 * *used;
    prompt->label = out->label + *used;
    for (int64_t i = 0; i < count; i++)
        if (points[i].object == index) {
            out->point[2 * *used] = points[i].number[0];
            out->point[2 * *used + 1] = points[i].number[1];
            out->label[*used] = !points[i].background;
            any = any || !points[i].background;
            prompt->points++;
            ++*used;
        }
    if (!any)
        return sp_error(SP_USAGE, "every --point of %s ends in ,-: at least one must lie on it",
                        out->name[index]);
    return sp_ok();
}

SpStatus sp_prompts_parse(const SpTexts *points, const SpTexts *boxes, SpPrompts *out)
{
    Argument point[SP_MAX_TEXTS];
    int64_t used = 0;
    memset(out, 0, sizeof *out);
    for (int64_t i = 0; i < points->count; i++)
        SP_TRY(read_argument(out, false, points->item[i], &point[i]));
    for (int64_t i = 0; i < boxes->count; i++)
        SP_TRY(read_box(out, boxes->item[i], out->box + 4 * i));
    for (int64_t i = 0; i < out->objects; i++)
        SP_TRY(group_points(out, i, point, points->count, &used));
    return sp_ok();
}

static SpStatus check_point(const double at[2], int64_t height, int64_t width)
{
    if (sp_frame_has(at[0], width) && sp_frame_has(at[1], height))
        return sp_ok();
    return sp_error(SP_USAGE,
                    "--point: %.9g,%.9g lies outside the video's frame, -0.5..%.9g,-0.5..%.9g",
                    at[0], at[1], (double)width - 0.5, (double)height - 0.5);
}

/* The box cut to the frame, whose edges lie half a pixel beyond the outer centres. */
static SpStatus cut_box(const double box[4], int64_t height, int64_t width, double out[4])
{
    const double edge[] = {(double)width - 0.5, (double)height - 0.5};
    if (!(box[0] < edge[0] && box[1] < edge[1] && box[2] > -0.5 && box[3] > -0.5))
        return sp_error(SP_USAGE,
                        "--box: %.9g,%.9g,%.9g,%.9g lies outside the video's frame of %lldx%lld",
                        box[0], box[1], box[2], box[3], (long long)width, (long long)height);
    for (int i = 0; i < 4; i++)
        out[i] = fmin(fmax(box[i], -0.5), edge[i % 2]);
    return sp_ok();
}

SpStatus sp_prompts_fit(const SpPrompts *prompts, int64_t height, int64_t width, SpPrompt *out,
                        double *box)
{
    for (int64_t i = 0; i < prompts->objects; i++, box += 4) {
        out[i] = prompts->prompt[i];
        for (int64_t k = 0; k < out[i].points; k++)
            SP_TRY(check_point(out[i].point + 2 * k, height, width));
        if (!out[i].box)
            continue;
        SP_TRY(cut_box(out[i].box, height, width, box));
        out[i].box = box;
    }
    return sp_ok();
}
