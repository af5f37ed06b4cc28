/*
 * What the program prints on stderr: notes, and how far a stage is. On a terminal a bar that is
 * drawn over; elsewhere a plain line every few seconds; or everything as JSON (man/spatrack.1,
 * "PROGRESS AS JSON").
 */
#ifndef SP_BASE_CONSOLE_H
#define SP_BASE_CONSOLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/progress.h"
#include "base/status.h"

/* --progress, in the order of its words. */
typedef enum SpProgressStyle { SP_PROGRESS_BAR, SP_PROGRESS_JSON } SpProgressStyle;

typedef struct SpConsole {
    FILE *stream;
    SpProgressStyle style;
    bool quiet, verbose, terminal;
    SpProgress progress; /* of the stage that runs; hand it to the stage */
    const char *stage;
    const char *video;      /* which it is of, where there are several; else NULL; a view */
    double inner;           /* sp_clock() of a stage that runs within it; 0: none does */
    double frames;          /* the whole stage stands for so many frames; 0: not known */
    double start, reported; /* sp_clock() of the stage, and of the last report */
    bool drawn;
} SpConsole;

/* A console on `stream` (stderr). quiet: warnings and errors only; verbose: the seconds of every
 * stage. The console must not move afterwards. */
void sp_console_open(SpConsole *console, FILE *stream, bool quiet, bool verbose,
                     SpProgressStyle style);

/* A stage begins; `frames`: what it stands for in the pace shown, 0 if that is not known. Within
 * another one it is only timed. */
void sp_console_begin(SpConsole *console, const char *stage, double frames);

/* The stage ends; returns its seconds. */
double sp_console_end(SpConsole *console);

/* No stage runs, also where one failed before its end. */
void sp_console_settle(SpConsole *console);

/* One line unless quiet, formatted as by printf. */
void sp_console_note(SpConsole *console, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One line always. */
void sp_console_warn(SpConsole *console, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The one line of a failure, always. */
void sp_console_error(SpConsole *console, const SpStatus *status);

/* One line when verbose. */
void sp_console_detail(SpConsole *console, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
