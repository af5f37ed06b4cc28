/*
 * Errors are values: every function that can fail returns an SpStatus, which carries the
 * process's exit code and one line for the user. Nothing below main() prints or exits.
 */
#ifndef SP_BASE_STATUS_H
#define SP_BASE_STATUS_H

#include <stdarg.h>
#include <stdio.h>

/* The documented exit codes (man/spatrack.1, EXIT STATUS). */
typedef enum SpCode {
    SP_OK = 0,
    SP_DIFFERENT = 1,   /* --compare: a tolerance is passed */
    SP_SOME_FAILED = 1, /* of several videos, some */
    SP_USAGE = 2,       /* bad flag, bad query, contradicting options */
    SP_INPUT = 3,       /* video, mask, query or geometry file unreadable */
    SP_CHECKPOINT = 4,  /* weights missing or bad */
    SP_MEMORY = 5,      /* host or device memory does not suffice */
    SP_DEVICE = 6,      /* device missing or failing */
    SP_OUTPUT = 7,      /* result not writable */
    SP_INTERRUPTED = 130
} SpCode;

/* code and a message without newline: what is wrong, in which file, what to do. */
typedef struct SpStatus {
    SpCode code;
    char text[508];
} SpStatus;

/* The status of success, with an empty text. */
SpStatus sp_ok(void);

/* A failure; the text is formatted as by printf and cut at the size of the field. */
SpStatus sp_error(SpCode code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The failure of a host allocation for `what` ("the frames"). */
SpStatus sp_no_memory(const char *what);

/* Defines char text[size]: the arguments after the parameter `format`, formatted as by printf. */
#define SP_FORMAT(text, size, format)                                                              \
    char text[size];                                                                               \
    va_list text##_arguments;                                                                      \
    va_start(text##_arguments, format);                                                            \
    vsnprintf(text, size, format, text##_arguments);                                               \
    va_end(text##_arguments)

/* Returns the failure of `call` from the enclosing function, if it failed. */
#define SP_TRY(call)                                                                               \
    do {                                                                                           \
        const SpStatus sp_try_ = (call);                                                           \
        if (sp_try_.code != SP_OK)                                                                 \
            return sp_try_;                                                                        \
    } while (0)

#endif
