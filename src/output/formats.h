/*
 * The formats that a run can write: one table, which --help, the checks before any work and the
 * writing read.
 */
#ifndef SP_OUTPUT_FORMATS_H
#define SP_OUTPUT_FORMATS_H

#include "base/console.h"
#include "media/reader.h"
#include "output/atomic.h"
#include "output/result.h"

/* What a run can be asked to write. */
typedef enum SpProduct {
    SP_PRODUCT_RESULT,
    SP_PRODUCT_OVERLAY,
    SP_PRODUCT_MASK,
    SP_PRODUCT_REPORT,
    SP_PRODUCT_SCENE,
    SP_PRODUCT_CAMERAS,
    SP_PRODUCT_CLOUD,
    SP_PRODUCT_VIEWER
} SpProduct;

/* The video under the overlay's tracks. */
typedef enum SpBackground {
    SP_BACKGROUND_PLAIN,
    SP_BACKGROUND_DIM,
    SP_BACKGROUND_GRAY
} SpBackground;

/* What formats write from, and how; views. */
typedef struct SpOutput {
    const SpResult *result;
    const uint8_t *mask; /* of the input video's size: 0, or k on object k, counted from 1 */
    const struct SpReport *report;
    const char *video; /* which the overlay reads a second time, with these settings */
    SpReaderSettings reader;
    int64_t trail; /* frames that the overlay's trails reach back */
    SpBackground background;
    int64_t max_side; /* longer side of saved depth and video, pixels */
    bool compress;
    double viewer_size; /* most bytes of the viewer's page, in millions */
    bool usd_cloud;     /* the first frame's depth in the scene, too */
    const char *omit;   /* "video,depths": arrays of the .npz to leave out; NULL: none */
    SpConsole *console; /* for progress and notes */
} SpOutput;

/* What a format's files are called, what must hold before any work, and how one is written. */
typedef struct SpFormat {
    SpProduct product;
    const char *ending; /* of the file's name: ".npz" */
    const char *what;   /* what it is, for --help */
    bool needs_tracks;
    bool seeks; /* what is written is changed afterwards, which a pipe does not allow */
    /* Before any work: what must hold of the video, by its name. NULL: nothing. SP_USAGE and what
     * getting ready for it gives. */
    SpStatus (*check)(const char *video);
    /* Whether a regular file was written by this format. NULL: that cannot be told. */
    bool (*is_own)(const char *path);
    /* Writes `file`, which stays the caller's to commit or abandon. SP_OUTPUT; SP_MEMORY; where the
     * video is read again SP_INPUT. */
    SpStatus (*write)(const SpAtomicFile *file, const SpOutput *output);
} SpFormat;

/* The product's format whose ending `path` has; NULL: none. */
const SpFormat *sp_format_of(SpProduct product, const char *path);

/* SP_USAGE when one of the `names`, "video,depths", is no array that --omit can leave out. */
SpStatus sp_result_check_omit(const char *names);

/* The product's formats in order, from 0; NULL: no more. */
const SpFormat *sp_format_at(SpProduct product, int index);

#endif
