/*
 * The used frames of a video once more, in their own size. The next one is decoded in a thread of
 * its own while one is looked at.
 */
#ifndef SP_MEDIA_REREAD_H
#define SP_MEDIA_REREAD_H

#include "media/clip.h"

/* Before any work: whether the video (NULL: there is none) can be read twice. Standard input is
 * kept for the second reading (media/spool.h). `flag` is what wants to. SP_USAGE, and what that
 * gives. */
SpStatus sp_reread_check(const char *video, const char *flag);

/* Whether it can be read twice as it is: no pipe, which may have no end. */
bool sp_reread_is_free(const char *video);

/* What is read again, and who looks at it. */
typedef struct SpReread {
    const char *video;
    SpReaderSettings settings; /* which give the frames of `clip`, others among them */
    const SpClip *clip;
    int64_t frames;                       /* how many of its, from the first on */
    const SpProgress *progress;           /* NULL: none */
    bool (*wants)(void *self, int64_t t); /* whether `each` gets frame t; NULL: it gets all */
    /* Frame t as RGB bytes [input_height, input_width, 3], which may be changed. */
    SpStatus (*each)(void *self, int64_t t, uint8_t *rgb);
    void *self;
} SpReread;

/* Calls each(self, t, rgb) for the wanted t = 0 .. frames - 1, in order and in this thread, `wants`
 * in another at the same time. SP_INPUT where the video is no longer what it was, by the size, the
 * numbers or the times of its frames; SP_MEMORY; what `each` gives. */
SpStatus sp_reread(const SpReread *reread);

/* The same frame by frame, in the thread that asks; of a clip that is still being read, too. Of
 * `what`, which is copied, `wants`, `each`, `frames` and `progress` are not looked at. Release with
 * sp_rereader_close (NULL allowed). */
typedef struct SpRereader SpRereader;
SpStatus sp_rereader_open(const SpReread *what, SpRereader **out);
void sp_rereader_close(SpRereader *rereader);

/* Frame t, which follows the one before: RGB bytes of the rereader, until the next call. */
SpStatus sp_rereader_next(SpRereader *rereader, int64_t t, uint8_t **rgb);

/* Whether the two readings may go on at the same time: standard input has one place alone. */
bool sp_reread_beside(const char *video);

/* Bytes of the frames that it holds at a time, in RGB, beside those of FFmpeg's decoder. */
size_t sp_reread_bytes(int64_t height, int64_t width);

#endif
