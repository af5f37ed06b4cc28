/*
 * The part of cmocka that the parity tests use: cases that run one after another, and assertions
 * that end a case. Prints TAP. To be included after setjmp.h, stdarg.h and stddef.h, as cmocka is.
 */
#ifndef SP_TESTS_PLAIN_CMOCKA_H
#define SP_TESTS_PLAIN_CMOCKA_H

#include <stddef.h>
#include <stdint.h>

typedef void (*PlainTest)(void **state);
typedef int (*PlainFixture)(void **state);

struct CMUnitTest {
    const char *name;
    PlainTest test;
};

#define cmocka_unit_test(function)                                                                 \
    {                                                                                              \
#function, function                                                                        \
    }

/* Runs the cases between set-up and tear-down (NULL: none) and returns how many failed. */
int plain_run(const char *group, const struct CMUnitTest *tests, size_t count, PlainFixture begin,
              PlainFixture end);
#define cmocka_run_group_tests_name(group, tests, begin, end)                                      \
    plain_run(group, tests, sizeof(tests) / sizeof((tests)[0]), begin, end)

/* Ends the running case; outside of one, the program. */
__attribute__((noreturn, format(printf, 3, 4))) void plain_fail(const char *file, int line,
                                                                const char *format, ...);
__attribute__((noreturn)) void plain_skip(void);
__attribute__((format(printf, 1, 2))) void print_message(const char *format, ...);

#define fail_msg(...) plain_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip()        plain_skip()

#define assert_true(good)                                                                          \
    do {                                                                                           \
        if (!(good))                                                                               \
            fail_msg("%s", #good);                                                                 \
    } while (0)
#define assert_false(bad)      assert_true(!(bad))
#define assert_non_null(place) assert_true((place) != NULL)
#define assert_int_equal(a, b)                                                                     \
    do {                                                                                           \
        const long long plain_a = (long long)(a), plain_b = (long long)(b);                        \
        if (plain_a != plain_b)                                                                    \
            fail_msg("%s is %lld, %s %lld", #a, plain_a, #b, plain_b);                             \
    } while (0)
#define assert_memory_equal(a, b, bytes) assert_true(memcmp(a, b, bytes) == 0)

#endif
