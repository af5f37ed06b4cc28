/*
 * How far a stage is: the stage tells, whoever runs it decides what to show.
 */
#ifndef SP_BASE_PROGRESS_H
#define SP_BASE_PROGRESS_H

/* `tell(self, done, total)`: `done` of `total` units of work (frames, blocks, ...) are finished.
 * A zeroed SpProgress shows nothing. */
typedef struct SpProgress {
    void (*tell)(void *self, double done, double total);
    void *self;
} SpProgress;

static inline void sp_progress(const SpProgress *progress, double done, double total)
{
    if (progress && progress->tell)
        progress->tell(progress->self, done, total);
}

#endif
