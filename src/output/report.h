/*
 * What a run did, as JSON (--report).
 */
#ifndef SP_OUTPUT_REPORT_H
#define SP_OUTPUT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "output/atomic.h"

enum { SP_REPORT_STAGES = 8, SP_REPORT_LIBRARIES = 16 };

/* One stage: its wall time and the most bytes it held; weight_bytes is what it read of weights. */
typedef struct SpStageReport {
    const char *name;
    double seconds;
    size_t peak_host_bytes, peak_device_bytes, weight_bytes;
} SpStageReport;

/* A library and the version that runs. */
typedef struct SpLibraryVersion {
    const char *name, *version;
} SpLibraryVersion;

/* Views of text; a NULL becomes null. */
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
    double seconds; /* the whole run, wall time */
    size_t peak_rss_bytes;
    int library_count;
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
} SpReport;

/* Writes `report` to `file`, which stays the caller's to commit or abandon, as an object of
 * program, version, settings, input {path, width, height, used_frames, left_out_frames, rate},
 * device, isa, threads, weights, stages [{name, seconds, peak_host_bytes, peak_device_bytes,
 * weight_bytes}], seconds, peak_rss_bytes, libraries {name: version}. Numbers that are not finite
 * become null, bytes of a text that are no UTF-8 U+FFFD.
 * Errors: SP_OUTPUT naming the file or folder, or settings that are no JSON; SP_MEMORY. */
SpStatus sp_report_write(const SpAtomicFile *file, const SpReport *report);

#endif
