/*
 * A finished result, read back so that the formats write from it what they write from a run
 * (src/output/README.md, "From a finished result").
 */
#ifndef SP_OUTPUT_RESULT_FILE_H
#define SP_OUTPUT_RESULT_FILE_H

#include "output/formats.h"
#include "output/result_arrays.h"

/* Must not move while `result` or `own` is used. */
typedef struct SpResultFile {
    SpResultArrays arrays;
    unsigned has; /* SP_PART_s */
    SpClip clip;  /* its frames are the saved ones; `video` NULL: not read */
    SpResult result;
    SpClip own_clip; /* and as if the saved frames were the input; views of `clip` and `result`, */
    SpResult own;    /* there once the file is read */
    float *value[SP_ARRAYS]; /* of the arrays that are read; owned */
    float *cameras;          /* behind c2w, w2c and both intrinsics; owned */
    float *derived;          /* behind what of the tracks is made from other arrays; owned */
    uint8_t *object;
    SpResultChunk *chunk;
    char *version, *object_names;
    char absent[256];
    double sx, sy; /* what tracks2d in the file are multiplied by to be in pixels of the input */
} SpResultFile;

/* Opens a result and reads what is small: cameras, times, sizes. SP_INPUT naming file and array:
 * as sp_result_arrays_open; nothing of a result in it; cameras that are none; times that do not
 * grow; SP_MEMORY. Release with sp_result_file_close, also after a failure. */
SpStatus sp_result_file_open(const char *path, SpResultFile *file);
void sp_result_file_close(SpResultFile *file);

/* Bytes that sp_result_file_read takes for these parts, and then holds, at most. */
size_t sp_result_file_bytes(const SpResultFile *file, unsigned parts);

/* The video that a result is of, before it is read: frames of height x width, at `rate` a second (0
 * unknown), of which, where the result does not say, every stride-th was used. SP_INPUT where it
 * cannot be that one. */
SpStatus sp_result_file_set_video(SpResultFile *file, const SpVideoInfo *video, int64_t stride);

/* Reads tracks and cameras, and of depth and frames those that `parts` (SP_PART_) names, as far as
 * the file has them. SP_INPUT as sp_result_arrays_read, and for queries or objects that are out of
 * range; SP_MEMORY, before any is taken, for more than there is. */
SpStatus sp_result_file_read(SpResultFile *file, unsigned parts);

#endif
