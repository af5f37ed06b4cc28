/*
 * For innermost loops under clang's AddressSanitizer, which looks at every load and makes them
 * several times slower: functions between SP_UNWATCHED_BEGIN and SP_UNWATCHED_END are left out, and
 * whoever calls them says first, with sp_reach, where they go. In other builds nothing of this is
 * anything.
 */
#ifndef SP_BASE_REACH_H
#define SP_BASE_REACH_H

#include <stdint.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SP_REACH_IS_CHECKED
#endif
#endif

#ifdef SP_REACH_IS_CHECKED
#include <sanitizer/asan_interface.h>
#define SP_UNWATCHED_BEGIN                                                                         \
    _Pragma("clang attribute push(__attribute__((no_sanitize_address)), apply_to = function)")
#define SP_UNWATCHED_END _Pragma("clang attribute pop")
#else
#define SP_UNWATCHED_BEGIN
#define SP_UNWATCHED_END
#endif

/* The sanitizer's report, unless the `count` floats from p on may all be read and written. */
static inline void sp_reach(const float *p, int64_t count)
{
#ifdef SP_REACH_IS_CHECKED
    const volatile char *bad =
        __asan_region_is_poisoned((void *)(uintptr_t)p, (size_t)count * sizeof *p);
    if (bad)
        (void)*bad;
#else
    (void)p, (void)count;
#endif
}

/* Likewise of `rows` rows that begin `lead` floats apart. */
static inline void sp_reach_rows(const float *p, int64_t lead, int64_t rows, int64_t count)
{
    for (int64_t row = 0; row < rows; row++)
        sp_reach(p + row * lead, count);
}

#endif
