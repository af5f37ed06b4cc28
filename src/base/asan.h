/*
 * Clang's AddressSanitizer checks every load and store, which makes innermost loops several times
 * slower. Functions between SP_NO_ASAN_BEGIN and SP_NO_ASAN_END are not instrumented; their callers
 * check beforehand, with sp_asan_check, what they read and write. Other builds have none of this.
 */
#ifndef SP_BASE_ASAN_H
#define SP_BASE_ASAN_H

#include <stdint.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SP_HAS_ASAN
#endif
#endif

#ifdef SP_HAS_ASAN
#include <sanitizer/asan_interface.h>
#define SP_NO_ASAN_BEGIN                                                                           \
    _Pragma("clang attribute push(__attribute__((no_sanitize_address)), apply_to = function)")
#define SP_NO_ASAN_END _Pragma("clang attribute pop")
#else
#define SP_NO_ASAN_BEGIN
#define SP_NO_ASAN_END
#endif

/* The sanitizer's report, unless the `count` floats from p on may all be read and written. */
static inline void sp_asan_check(const float *p, int64_t count)
{
#ifdef SP_HAS_ASAN
    const volatile char *bad =
        __asan_region_is_poisoned((void *)(uintptr_t)p, (size_t)count * sizeof *p);
    if (bad)
        (void)*bad;
#else
    (void)p, (void)count;
#endif
}

/* Likewise of `rows` rows that begin `lead` floats apart. */
static inline void sp_asan_check_rows(const float *p, int64_t lead, int64_t rows, int64_t count)
{
    for (int64_t row = 0; row < rows; row++)
        sp_asan_check(p + row * lead, count);
}

#endif
