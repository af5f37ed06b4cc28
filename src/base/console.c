#include "base/console.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const double REDRAW = 0.1, LINE_EVERY = 5; /* seconds */

enum { BAR = 24 };

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
    char bar[BAR + 1] = {0}, pace[80] = "";
    if (console->quiet || now - console->reported < (console->terminal ? REDRAW : LINE_EVERY))
        return;
    console->reported = now;
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
        fprintf(console->stream, "%s: %.0f %%%s, %d:%02d left\n", console->stage,
                floor(100 * share), pace, (int)left / 60, (int)left % 60);
    fflush(console->stream);
    console->drawn = console->terminal;
}

void sp_console_open(SpConsole *console, FILE *stream, bool quiet, bool verbose)
{
    *console = (SpConsole){.stream = stream,
                           .quiet = quiet,
                           .verbose = verbose,
                           .terminal = isatty(fileno(stream)) != 0};
    console->progress = (SpProgress){report, console};
}

void sp_console_begin(SpConsole *console, const char *stage, double frames)
{
    console->stage = stage;
    console->frames = frames;
    console->start = console->reported = sp_clock();
}

double sp_console_end(SpConsole *console)
{
    const double seconds = sp_clock() - console->start;
    clear_bar(console);
    sp_console_detail(console, "%s: %.2f s", console->stage, seconds);
    return seconds;
}

static void print_line(SpConsole *console, const char *format, va_list arguments)
{
    clear_bar(console);
    fputs("spatrack: ", console->stream);
    vfprintf(console->stream, format, arguments);
    fputc('\n', console->stream);
    fflush(console->stream);
}

#define PRINT_IF(condition)                                                                        \
    va_list arguments;                                                                             \
    va_start(arguments, format);                                                                   \
    if (condition)                                                                                 \
        print_line(console, format, arguments);                                                    \
    va_end(arguments)

void sp_console_note(SpConsole *console, const char *format, ...)
{
    PRINT_IF(!console->quiet);
}

void sp_console_warn(SpConsole *console, const char *format, ...)
{
    PRINT_IF(true);
}

void sp_console_detail(SpConsole *console, const char *format, ...)
{
    PRINT_IF(console->verbose && !console->quiet);
}
