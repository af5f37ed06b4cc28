/*
 * The one clock that durations are taken with.
 */
#ifndef SP_BASE_CLOCK_H
#define SP_BASE_CLOCK_H

#include <time.h>

/* Seconds since some moment in the past; goes on evenly whatever is done to the time of day. */
static inline double sp_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
