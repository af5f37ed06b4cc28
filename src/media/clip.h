/*
 * The used frames of a video, as the networks want them.
 */
#ifndef SP_MEDIA_CLIP_H
#define SP_MEDIA_CLIP_H

#include "base/progress.h"
#include "media/frame_plan.h"
#include "media/reader.h"

/* How frames are prepared: see sp_frame_plan. */
typedef struct SpClipSettings {
    SpReaderSettings reader;
    int64_t size, patch; /* pixels across, and of one patch */
    SpPortrait portrait;
    int64_t max_short_side; /* 0: no first reduction */
    bool no_video;          /* frames are counted, and not prepared */
    bool keep_original;     /* one used frame is stored as it was decoded as well */
    int64_t original_frame; /* its number among the used ones */
    int64_t room;           /* frames that memory is had for at first; 0: a few */
    void (*see)(void *self, int64_t t, const uint8_t *rgb); /* who looks at each frame as it was
                                                               decoded; NULL: nobody */
    void *self;
} SpClipSettings;

/* T prepared frames; the arrays are the clip's. */
typedef struct SpClip {
    SpFramePlan plan;
    int64_t frames;      /* T; of a clip that is still being read, as many as have been */
    int64_t first;       /* frame with which `video` begins: those before it were dropped */
    int64_t expected;    /* frames by the container's word, 0 unknown */
    bool ended;          /* there are no more */
    int64_t left_out;    /* frames beyond max_frames */
    SpLosses losses;     /* what of the file could not be read */
    int64_t damage;      /* damaged frames and refused packets so far */
    SpGap gap;           /* of a pattern of images */
    double rate;         /* frames a second of the file, 0 unknown */
    SpPixelAspect pixel; /* of the video */
    int streams, stream; /* of the file, as in SpVideoInfo */
    double rotation;
    float *video;       /* [T - first, 3, H, W] RGB 0..255, not clamped; NULL: not wanted */
    double *timestamps; /* [T] seconds */
    int64_t *index;     /* [T] number in the file */
    bool timeless;      /* the timestamps are no file's */
    const char *result; /* the finished result that it is of, a view; NULL: read from a video */
    uint8_t *original;  /* [input_height, input_width, 3] RGB of original_frame; NULL: none */
} SpClip;

/* Decodes and prepares frame by frame: of the frames in their own size one is held at a time.
 * SP_INPUT naming the file; SP_MEMORY. The caller releases it with sp_clip_free. */
SpStatus sp_clip_read(const char *path, const SpClipSettings *settings, const SpProgress *progress,
                      SpClip *clip);

/* The same a part at a time: nothing but what the file says of its frames is known at first. `path`
 * is a view. The caller releases the reader with sp_clip_close (NULL allowed), the clip with
 * sp_clip_free. Errors as there. */
typedef struct SpClipReader SpClipReader;
SpStatus sp_clip_open(const char *path, const SpClipSettings *settings, SpClip *clip,
                      SpClipReader **out);
void sp_clip_close(SpClipReader *reader);

/* Reads until the clip has `frames` frames or has ended. Once it has, what was left out and lost is
 * known. */
SpStatus sp_clip_read_to(SpClipReader *reader, int64_t frames, const SpProgress *progress);

/* Forgets the pictures of the frames before `first`. */
void sp_clip_drop(SpClip *clip, int64_t first);

/* Frees the arrays and zeroes the clip; `original` may be freed and NULL before. */
void sp_clip_free(SpClip *clip);

#endif
