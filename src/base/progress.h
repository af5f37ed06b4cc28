/*
 * How far a stage is: the stage reports, whoever runs it decides what to show.
 */
#ifndef SP_BASE_PROGRESS_H
#define SP_BASE_PROGRESS_H

/* `report(self, done, total)`: `done` of `total` units of work (frames, blocks, ...) are finished.
 * A zeroed SpProgress shows nothing. */
typedef struct SpProgress {
    void (*report)(void *self, double done, double total);
    void *self;
} SpProgress;

/* Reports to `progress`, which may be NULL. */
static inline void sp_progress(const SpProgress *progress, double done, double total)
{
    if (progress && progress->report)
        progress->report(progress->self, done, total);
}

#endif
