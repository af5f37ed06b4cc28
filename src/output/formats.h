/*
 * The formats that a run can write: one table, which --help, the checks before any work and the
 * writing read.
 */
#ifndef SP_OUTPUT_FORMATS_H
#define SP_OUTPUT_FORMATS_H

#include "base/console.h"
#include "media/reader.h"
#include "output/atomic.h"
#include "output/atomic_folder.h"
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
    SP_PRODUCT_MODEL,
    SP_PRODUCT_DEPTH,
    SP_PRODUCT_VIEWER
} SpProduct;

/* What a format writes from. A run has all of it, a finished result what its arrays give. */
typedef enum SpPart {
    SP_PART_TRACKS = 1,  /* points in the world, and what else is known of tracks */
    SP_PART_PIXELS = 2,  /* where they are in the image */
    SP_PART_CAMERAS = 4, /* c2w and intrinsics */
    SP_PART_DEPTH = 8,   /* with its confidence */
    SP_PART_FRAMES = 16, /* the clip's pictures */
    SP_PART_ALL = 31
} SpPart;

/* The video under the overlay's tracks. */
typedef enum SpBackground {
    SP_BACKGROUND_PLAIN,
    SP_BACKGROUND_DIM,
    SP_BACKGROUND_GRAY
} SpBackground;

/* What formats write from, and how; views. */
typedef struct SpOutput {
    const SpResult *result;
    const char *input;   /* what the user gave: a video or a finished result */
    const uint8_t *mask; /* of the input video's size: 0, or k on object k, counted from 1 */
    const struct SpReport *report;
    const char *video; /* which the overlay reads a second time, with these settings; NULL, of a
                          finished result: the clip's frames are the video's */
    SpReaderSettings reader;
    int64_t trail; /* frames that the overlay's trails reach back */
    SpBackground background;
    int64_t max_side; /* longer side of saved depth and video, pixels */
    bool compress;
    double viewer_size; /* most bytes of the viewer's page, in millions */
    bool usd_cloud;     /* the first frame's depth in the scene, too */
    bool grows;         /* more tracks may come from frame to frame, behind the others */
    const char *omit;   /* "video,depths": arrays of the .npz to leave out; NULL: none */
    SpConsole *console; /* for progress and notes */
} SpOutput;

/* How a format is written while frames come one by one, in order, of a clip whose end is not known.
 * Errors as of SpFormat's `write`. */
typedef struct SpFrameFormat {
    /* `output` must outlive the stream; of its result nothing is there yet but what does not change
     * from frame to frame, and which arrays there will be. *stream may be set when this fails. */
    SpStatus (*begin)(const SpAtomicFile *file, const SpOutput *output, void **stream);
    /* Frame t, as a result of one frame; rgb: its picture in the video's own size, which may be
     * drawn on, where `from_video` says that it is looked at, else NULL. */
    SpStatus (*add)(void *stream, int64_t t, const SpResult *frame, uint8_t *rgb);
    /* What is small of all frames: their number, indices and times, `dynamic`, `chunks`. */
    SpStatus (*end)(void *stream, const SpResult *whole);
    /* Releases the stream, ended or not; NULL is not allowed. */
    void (*discard)(void *stream);
} SpFrameFormat;

/* What a format's files are called, what must hold before any work, and how one is written. */
typedef struct SpFormat {
    SpProduct product;
    const char *ending; /* of the file's name: ".npz" */
    const char *what;   /* what it is, for --help */
    bool needs_tracks;
    bool from_video;   /* where the video is read again, it is all that is looked at of frames */
    unsigned unused;   /* SP_PART_s that it never looks at */
    unsigned optional; /* SP_PART_s that it writes without, where they are missing */
    bool seeks;        /* what is written is changed afterwards, which a pipe does not allow */
    /* Before any work: what must hold of the video, by its name (NULL: of a finished result, whose
     * own frames take its place, as if they were the video's). NULL: nothing. SP_USAGE and what
     * getting ready for it gives. */
    SpStatus (*check)(const char *video);
    /* Whether a regular file was written by this format. NULL: that cannot be told. */
    bool (*is_own)(const char *path);
    /* Writes `file`, which stays the caller's to commit or abandon. SP_OUTPUT; SP_MEMORY; where the
     * video is read again SP_INPUT. */
    SpStatus (*write)(const SpAtomicFile *file, const SpOutput *output);
    /* NULL: it needs the whole result at once. */
    const SpFrameFormat *frames;
    /* The pictures before all else, where its file begins with them: `add` looks at nothing but a
     * frame's picture, and `end` writes all the rest, of a whole result. NULL: it does not. */
    const SpFrameFormat *pictures;
    /* In place of `write`, of a format that is a folder of files: writes them into `folder`, which
     * stays the caller's to commit or abandon. Errors: as of `write`. */
    SpStatus (*write_all)(const SpAtomicFolder *folder, const char *const *names,
                          const SpOutput *output);
    /* What those files are called in the folder, up to a NULL: one name or, with a %d for its
     * number, one for each used frame. NULL: one such pattern, which the user gives. */
    const char *const *names;
    /* Bytes of host memory that writing takes beside the result. NULL: too few to count. */
    size_t (*bytes)(const SpFramePlan *plan, int64_t frames, int64_t tracks);
} SpFormat;

/* The SP_PART_s that must be there for a format: all but the unused and the optional ones; tracks
 * only where it needs them. */
unsigned sp_format_needs(const SpFormat *format);

/* The product's format whose ending `path` has; where its last name has a %, the one whose pattern
 * the user gives. NULL: none. */
const SpFormat *sp_format_of(SpProduct product, const char *path);

/* SP_USAGE when one of the `names`, "video,depths", is no array that --omit can leave out. */
SpStatus sp_result_check_omit(const char *names);

/* The product's formats in order, from 0; NULL: no more. */
const SpFormat *sp_format_at(SpProduct product, int index);

#endif
