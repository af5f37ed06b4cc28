/*
 * A window's tensors for the sink of nn/dump.h, of all tracks. A name is that of a golden in
 * tests/golden/tracker and of a tensor in it, with the window's label before the latter.
 */
#ifndef SP_TRACKER_WINDOW_DUMP_H
#define SP_TRACKER_WINDOW_DUMP_H

#include "tracker/window.h"

/* Features of the frame in the cache on all levels, of `fnet`. */
void sp_dump_features(SpNn *nn, const SpWindow *window);

/* The state, start.* and it0.* .., of `online` for one of several windows, else of `offline`. */
void sp_dump_init(SpNn *nn, const SpWindow *window);
void sp_dump_points(SpNn *nn, const SpWindow *window); /* before replacement */
void sp_dump_iteration(SpNn *nn, const SpTrackerSettings *settings, const float *replaced,
                       const SpWindow *window);

/* What the update former returns, of `updateformer`. */
void sp_dump_updates(SpNn *nn, const SpWindow *window, const SpUpdates *updates);

/* A tensor of `tokens` while it is gathered from chunks of pairs. */
typedef struct SpTokenDump {
    const char *name;
    int64_t width;
    bool by_frame; /* [T, N, width], else [N, T, width] */
    float *host;   /* NULL unless it is asked for */
} SpTokenDump;

/* Allocates it; adds the pairs of frames from `frame` on, whose rows, `width` values each, are
 * `stride` apart on the device; hands it over and frees it. */
void sp_dump_tokens_begin(SpNn *nn, const SpWindow *window, SpTokenDump *dump);
void sp_dump_tokens_add(SpNn *nn, const SpWindow *window, const SpPairs *pairs, int64_t frame,
                        const float *rows, int64_t stride, const SpTokenDump *dump);
void sp_dump_tokens_end(SpNn *nn, const SpWindow *window, SpTokenDump *dump);

#endif
