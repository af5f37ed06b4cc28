/*
 * Every file of a run, in one table: what it is, the flag that names it, whether it is read or
 * written, and in which formats. Names are settled and checked before any work; what is written
 * appears at the end, all of it or nothing.
 */
#ifndef SP_PIPELINE_FILES_H
#define SP_PIPELINE_FILES_H

#include "output/formats.h"
#include "pipeline/collisions.h"
#include "pipeline/job.h"
#include "pipeline/places.h"

typedef enum SpFileRole {
    SP_FILE_VIDEO,
    SP_FILE_GEOMETRY,
    SP_FILE_QUERIES,
    SP_FILE_MASK,
    SP_FILE_LIST,
    SP_FILE_ORIGINAL,
    SP_FILE_RESULT,
    SP_FILE_REPORT,
    SP_FILE_OVERLAY,
    SP_FILE_MASK_OUT,
    SP_FILE_USD,
    SP_FILE_CAMERAS,
    SP_FILE_PLY,
    SP_FILE_COLMAP,
    SP_FILE_DEPTH,
    SP_FILE_VIEWER,
    SP_FILE_DUMP,
    SP_FILE_ROLES
} SpFileRole;

enum { SP_PATH_CAPACITY = 4096 };

typedef struct SpRunFile {
    char path[SP_PATH_CAPACITY]; /* "": not part of the run */
    const SpFormat *
        format; /* of what is written; NULL: a folder, which who writes it opens, or what is read */
    SpAtomicFile written;          /* beside its place until sp_files_commit */
    SpAtomicFolder folder;         /* likewise, of a format that is a folder of files */
    void *stream;                  /* what is written frame by frame; NULL: not begun */
    const SpFrameFormat *by_frame; /* how */
    bool awaited;                  /* a pipe whose reader may come and wait for its end */
    bool appended;                 /* the report of several videos: a line for each, see report.h */
} SpRunFile;

/* Below, `files` are a job's [SP_FILE_ROLES]. */

/* Settles the names of a job's files: as asked; in the folder asked for (a name that ends in /) the
 * video's own name; the result, where nothing is asked, beside the video. Looks at no file, only
 * for the real name of a folder like ".". SP_USAGE for a name that is too long or has no known
 * ending, or a format that wants tracks of a job without. */
SpStatus sp_files_name(const SpJob *job, SpRunFile files[]);

/* Before any work, of the job with each of the videos: nothing that is written, the files of a
 * folder among it, would replace something else that is written or read, an image of a folder or
 * pattern and a file of the weights among it, or become such an image. SP_USAGE naming the path and
 * both flags; SP_MEMORY. */
SpStatus sp_files_apart(const SpJob *job, const char *const *videos, int count);

/* Several videos share a job's flags: each must get files of its own. SP_USAGE naming the flag. */
SpStatus sp_files_check_shared(const SpJob *job);

/* Makes the folders that are named as such, with a slash at the end, or in a list, where they are
 * missing. SP_OUTPUT. */
SpStatus sp_files_make_folders(const SpJob *job, const SpRunFile files[]);

/* Of a video of a list, which is checked as it comes: that none of its files would replace one of
 * a video before it, whose places are in `places`, where they are added; *again: it is the same
 * video, with the same result. As sp_files_apart. */
SpStatus sp_files_admit(const SpJob *job, SpPlaces *places, bool *again);

/* The file whose lock stands for the run: the result or, without one, the first that is written
 * and replaces another; "": there is none. */
const char *sp_files_lock_name(const SpRunFile files[]);

/* SP_OUTPUT when --no-clobber is given and something that would be written exists. */
SpStatus sp_files_check_clobber(const SpJob *job, const SpRunFile files[]);

/* Before any work: all that is written can be, and under a name that the user did not choose no
 * file of somebody else is replaced. Pipes that somebody reads stay open. SP_OUTPUT; what a
 * format's check gives. */
SpStatus sp_files_check(const SpJob *job, SpRunFile files[]);

/* Bytes of host memory that writing takes beside the result, for one after another: the most that
 * any takes of T frames and N tracks. */
size_t sp_files_bytes(const SpRunFile files[], const SpFramePlan *plan, int64_t frames,
                      int64_t tracks);

/* Writes one of them that has a format, whole but not yet in its place. SP_OUTPUT; SP_MEMORY;
 * SP_INPUT. */
SpStatus sp_files_write(SpRunFile files[], SpFileRole role, const SpOutput *output);

/* The result's pictures, before the rest of it is known: whether its format begins with them (into
 * a pipe all goes at the end: its reader may come late); then sp_files_begin_pictures, each frame,
 * and sp_files_write for all else. As SpFormat's `pictures` has it; errors as above. */
bool sp_files_have_pictures(const SpRunFile files[]);
SpStatus sp_files_begin_pictures(SpRunFile files[], const SpOutput *output);
SpStatus sp_files_add_picture(SpRunFile files[], int64_t t, const SpResult *frame);

/* Whether all that is written can be while frames come and go. */
bool sp_files_stream(const SpRunFile files[]);

/* The same frame by frame: sp_files_begin, then each frame, then sp_files_end; of those whose
 * format can. As SpFrameFormat has it; errors as above. */
SpStatus sp_files_begin(SpRunFile files[], const SpOutput *output);
SpStatus sp_files_add(SpRunFile files[], int64_t t, const SpResult *frame, uint8_t *rgb);
SpStatus sp_files_end(SpRunFile files[], const SpResult *whole);

/* Puts what was written into its place, the result last, or removes it (also after a commit) and
 * ends the pipes that it would have gone into. SP_OUTPUT. */
SpStatus sp_files_commit(SpRunFile files[]);
void sp_files_abandon(SpRunFile files[]);

#endif
