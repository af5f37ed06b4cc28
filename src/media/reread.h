/*
 * The used frames of a video once more, in their own size, one at a time.
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

/* Frame t as RGB bytes [input_height, input_width, 3], which may be changed. */
typedef SpStatus SpEachFrame(void *self, int64_t t, uint8_t *rgb);

/* Calls each(self, t, rgb) for t = 0 .. frames - 1 of `clip`, which are among those that `settings`
 * give. SP_INPUT where the video is no longer what it was, by the size, the numbers or the times of
 * its frames; SP_MEMORY; what `each` gives. */
SpStatus sp_reread(const char *video, const SpReaderSettings *settings, const SpClip *clip,
                   int64_t frames, const SpProgress *progress, SpEachFrame *each, void *self);

#endif
