#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmocka/cmocka.h"

enum { GOOD, FAILED, SKIPPED };

static jmp_buf after;
static bool inside;

static void leave(int how)
{
    if (!inside)
        exit(how == FAILED);
    longjmp(after, how);
}

void plain_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("# %s:%d: ", file, line);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    leave(FAILED);
    abort();
}

void plain_skip(void)
{
    leave(SKIPPED);
    abort();
}

void print_message(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

/* Outcome of a fixture or, without one, of a case. */
static int outcome(PlainFixture fixture, PlainTest test, void **state)
{
    inside = true;
    const int how = setjmp(after);
    if (how == GOOD && fixture && fixture(state) != 0)
        leave(FAILED);
    if (how == GOOD && test)
        test(state);
    inside = false;
    return how;
}

int plain_run(const char *group, const struct CMUnitTest *tests, size_t count, PlainFixture begin,
              PlainFixture end)
{
    void *state = NULL;
    int failed = 0;
    const bool begun = outcome(begin, NULL, &state) == GOOD;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        const int how = begun ? outcome(NULL, tests[i].test, &state) : FAILED;
        failed += how == FAILED;
        printf("%s %zu - %s, %s%s\n", how == FAILED ? "not ok" : "ok", i + 1, group, tests[i].name,
               how == SKIPPED ? " # SKIP" : "");
        fflush(stdout);
    }
    failed += begun && outcome(end, NULL, &state) == FAILED;
    return failed;
}
