#include "base/console.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

static const double REDRAW = 0.1, LINE_EVERY = 5; /* seconds */

enum { BAR = 24, LINE = 2048 };

/* Writes the text as a JSON string (RFC 8259); bytes that are no UTF-8 become U+FFFD. */
static void print_string(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (const char *at = text, *from = text; *at; from = at) {
        const uint32_t code = sp_utf8_next(&at);
        if (code == '"' || code == '\\')
            fprintf(stream, "\\%c", (int)code);
        else if (code < 0x20 || code == SP_UTF8_REPLACEMENT)
            fprintf(stream, "\\u%04x", (unsigned)code);
        else
            fwrite(from, 1, (size_t)(at - from), stream);
    }
    fputc('"', stream);
}

/* Copies the text, cut at LINE, with what a terminal would obey, in a file's name perhaps, as
 * question marks. */
static const char *plain(const char *text, char out[LINE])
{
    char *to = out;
    for (const char *at = text, *from = text; *at; from = at) {
        const uint32_t code = sp_utf8_next(&at);
        const size_t bytes = (size_t)(at - from);
        const bool bare = code == SP_UTF8_REPLACEMENT && bytes == 1; /* a byte, no UTF-8 */
        const uint32_t shown = bare ? (unsigned char)*from : code;
        if (to + bytes >= out + LINE)
            break;
        if (shown < 0x20 || (shown >= 0x7f && shown < 0xa0)) {
            *to++ = '?';
        } else {
            memcpy(to, from, bytes);
            to += bytes;
        }
    }
    *to = 0;
    return out;
}

/* Begins the line of an event; the caller writes further members and then `end_event`. */
static void begin_event(SpConsole *console, const char *event, const char *key, const char *text)
{
    fprintf(console->stream, "{\"event\": \"%s\", \"%s\": ", event, key);
    print_string(console->stream, text);
}

static void end_event(SpConsole *console)
{
    if (console->video) {
        fputs(", \"video\": ", console->stream);
        print_string(console->stream, console->video);
    }
    fputs("}\n", console->stream);
    fflush(console->stream);
}

static bool tells_stages(const SpConsole *console)
{
    return console->style == SP_PROGRESS_JSON && !console->quiet;
}

static void clear_bar(SpConsole *console)
{
    if (console->drawn)
        fputs("\r\033[K", console->stream);
    console->drawn = false;
}

static void report(void *self, double done, double total)
{
    SpConsole *console = self;
    const double now = sp_clock(), elapsed = now - console->start;
    const double share = total > 0 ? fmin(done / total, 1) : 0;
    const double left = share > 0 ? elapsed / share - elapsed : 0;
    char bar[BAR + 1] = {0}, pace[80] = "", video[LINE];
    const bool often = console->terminal || console->style == SP_PROGRESS_JSON;
    if (console->quiet || console->inner > 0 ||
        now - console->reported < (often ? REDRAW : LINE_EVERY))
        return;
    console->reported = now;
    if (console->style == SP_PROGRESS_JSON) {
        begin_event(console, "progress", "stage", console->stage);
        fprintf(console->stream, ", \"done\": %.4f, \"seconds\": %.3f, \"seconds_left\": %.3f",
                share, elapsed, left);
        end_event(console);
        return;
    }
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(share * BAR));
    if (console->frames > 0)
        snprintf(pace, sizeof pace, "  %.0f/%.0f frames  %.2f frames/s",
                 floor(share * console->frames), console->frames,
                 elapsed > 0 ? share * console->frames / elapsed : 0.0);
    if (console->terminal)
        fprintf(console->stream, "\r%-8s [%s] %3.0f %%%s  %d:%02d left\033[K", console->stage, bar,
                floor(100 * share), pace, (int)left / 60, (int)left % 60);
    else
        fprintf(console->stream, "%s%s%s: %.0f %%%s, %d:%02d left\n",
                console->video ? plain(console->video, video) : "", console->video ? ": " : "",
                console->stage, floor(100 * share), pace, (int)left / 60, (int)left % 60);
    fflush(console->stream);
    console->drawn = console->terminal;
}

void sp_console_open(SpConsole *console, FILE *stream, bool quiet, bool verbose,
                     SpProgressStyle style)
{
    *console = (SpConsole){.stream = stream,
                           .style = style,
                           .quiet = quiet,
                           .verbose = verbose,
                           .terminal = isatty(fileno(stream)) != 0};
    console->progress = (SpProgress){report, console};
}

void sp_console_begin(SpConsole *console, const char *stage, double frames)
{
    if (console->stage) {
        console->inner = sp_clock();
        return;
    }
    console->stage = stage;
    console->frames = frames;
    console->start = console->reported = sp_clock();
    if (!tells_stages(console))
        return;
    begin_event(console, "begin", "stage", stage);
    if (frames > 0)
        fprintf(console->stream, ", \"frames\": %.0f", frames);
    end_event(console);
}

double sp_console_end(SpConsole *console)
{
    const double now = sp_clock(), seconds = now - console->start, inner = now - console->inner;
    if (console->inner > 0) {
        console->inner = 0;
        return inner;
    }
    clear_bar(console);
    if (tells_stages(console)) {
        begin_event(console, "end", "stage", console->stage);
        fprintf(console->stream, ", \"seconds\": %.3f", seconds);
        end_event(console);
    } else
        sp_console_detail(console, "%s: %.2f s", console->stage, seconds);
    console->stage = NULL;
    return seconds;
}

void sp_console_settle(SpConsole *console)
{
    clear_bar(console);
    console->stage = NULL;
    console->inner = 0;
}

/* `event`: what the line is in JSON. */
static void print_line(SpConsole *console, const char *event, const char *format, va_list arguments)
{
    char text[LINE], video[LINE], line[LINE];
    clear_bar(console);
    vsnprintf(text, sizeof text, format, arguments);
    if (console->style == SP_PROGRESS_JSON) {
        begin_event(console, event, "text", text);
        end_event(console);
        return;
    }
    fprintf(console->stream, "spatrack: %s%s%s\n",
            console->video ? plain(console->video, video) : "", console->video ? ": " : "",
            plain(text, line));
    fflush(console->stream);
}

#define PRINT_IF(condition, event)                                                                 \
    va_list arguments;                                                                             \
    va_start(arguments, format);                                                                   \
    if (condition)                                                                                 \
        print_line(console, event, format, arguments);                                             \
    va_end(arguments)

void sp_console_note(SpConsole *console, const char *format, ...)
{
    PRINT_IF(!console->quiet, "note");
}

void sp_console_warn(SpConsole *console, const char *format, ...)
{
    PRINT_IF(true, "warning");
}

void sp_console_detail(SpConsole *console, const char *format, ...)
{
    PRINT_IF(console->verbose && !console->quiet, "detail");
}

void sp_console_error(SpConsole *console, const SpStatus *status)
{
    clear_bar(console);
    if (console->style == SP_PROGRESS_JSON) {
        begin_event(console, "error", "text", status->text);
        fprintf(console->stream, ", \"status\": %d", (int)status->code);
        end_event(console);
    } else {
        char line[LINE];
        fprintf(console->stream, "spatrack: %s\n", plain(status->text, line));
    }
}
