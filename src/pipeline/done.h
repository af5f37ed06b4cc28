/*
 * What a result says it was made from, and whether that is what a job would make it from.
 */
#ifndef SP_PIPELINE_DONE_H
#define SP_PIPELINE_DONE_H

#include <time.h>

#include "pipeline/files.h"

/* Of the inputs of a job, what a result keeps: nothing that copying them changes, so that the same
 * inputs give the same bytes. */
typedef struct SpInputRecord {
    char *json; /* the caller's to free with cJSON_free; NULL: inputs that cannot be known again, as
                   those of a pipe */
    struct timespec changed; /* when the last of them was */
} SpInputRecord;

/* The video, and the geometry, the queries and the mask where they are given, as they are now:
 * {"size": bytes, "ends": "0123456789abcdef", "queries": {"size": ..., "ends": ...}}, where `ends`
 * is FNV-1a of 64 bits over the first and the last 4 KiB; of images, over those of each, with their
 * bytes together and how many "files" they are. SP_INPUT: one cannot be read; SP_MEMORY. */
SpStatus sp_input_record(const SpJob *job, SpInputRecord *record);

/* Whether everything that the job would write is there already: its .npz whole, no older than
 * the inputs, with this record of them, the job's settings and arrays, by this version of the
 * program; its other files no older than that. What cannot be told is not done. SP_MEMORY. */
SpStatus sp_is_done(const SpJob *job, const SpRunFile files[], const SpInputRecord *record,
                    bool *done);

#endif
