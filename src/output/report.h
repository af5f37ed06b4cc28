/*
 * What a run did (--report, src/output/README.md, "Report").
 */
#ifndef SP_OUTPUT_REPORT_H
#define SP_OUTPUT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "output/result.h"

enum { SP_REPORT_STAGES = 16, SP_REPORT_LIBRARIES = 16, SP_REPORT_EVENTS = 64 };

/* One stage: its wall time and the most bytes it held. Of stages with a network also: the memory of
 * the device (arena, resident weights, workspace) as planned and as used; weight_bytes, which it
 * has; moved_bytes, which went to the device; moving_seconds, which the stage's thread spent on
 * that; hidden_seconds, how long copies ran beside ops. */
typedef struct SpStageReport {
    const char *name, *mode; /* of weights and maps; NULL: no network */
    double seconds;
    size_t peak_host_bytes, planned_device_bytes, peak_device_bytes, weight_bytes;
    double moved_bytes, moving_seconds, hidden_seconds;
} SpStageReport;

/* A model woke or went to sleep, or its weights were loaded onto the device: how long that took,
 * and what was cached then: models that are mapped, their bytes, the bytes held on the device, and
 * the process's resident ones. */
typedef struct SpCacheEvent {
    const char *what, *model; /* "wake", "load", "sleep" */
    double seconds;
    int models;
    size_t host_bytes, device_bytes, rss_bytes;
} SpCacheEvent;

/* A library and the version that runs. */
typedef struct SpLibraryVersion {
    const char *name, *version;
} SpLibraryVersion;

/* Views of text; a NULL becomes null, as does a number that is not finite. */
typedef struct SpReport {
    const char *program_version;
    const char *settings_json; /* a JSON object, which is put in as such; NULL: null */
    const char *input;
    int64_t input_width, input_height; /* pixels */
    int64_t used_frames, left_out_frames;
    double rate; /* frames a second of the input */
    const char *device, *isa;
    int threads;
    const char *weights;
    int stage_count;
    SpStageReport stages[SP_REPORT_STAGES];
    int event_count;
    const SpCacheEvent *events;
    int64_t chunk_frames, chunk_overlap; /* of the front; 0: all frames at once */
    int64_t chunks;
    const SpResultChunk *chunk;
    const char *error; /* NULL: the run did what it was asked for; else nothing but the input's path
                          is told, this, and its exit status */
    int status;
    double seconds; /* the whole run, wall time */
    size_t peak_rss_bytes;
    int library_count;
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
} SpReport;

/* Adds a stage; where there is one of that name, which ran before, the seconds and bytes moved of
 * both, and the more of their memory. */
void sp_report_add_stage(SpReport *report, const SpStageReport *stage);

/* Whether lines may be appended to what is at `path`: nothing yet, or what reports have begun.
 * SP_OUTPUT. */
SpStatus sp_report_check_append(const char *path);

/* Appends the report as one line of JSON to the file at `path`, which is made where it is missing:
 * whole, also where other processes do the same. SP_OUTPUT, and then the file is as it was;
 * SP_MEMORY. */
SpStatus sp_report_append(const char *path, const SpReport *report);

#endif
