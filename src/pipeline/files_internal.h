/* The table of a run's files, for who names and writes them and who keeps them apart. */
#ifndef SP_PIPELINE_FILES_INTERNAL_H
#define SP_PIPELINE_FILES_INTERNAL_H

#include "pipeline/files.h"

typedef struct SpFileEntry {
    const char *what, *flag;
    size_t field; /* the path in SpJob */
    bool written;
    SpProduct product;  /* of what is written */
    const char *ending; /* of the video's own name in a folder; NULL: it cannot be named by one */
    bool any_ending, always, folder;
} SpFileEntry;

extern const SpFileEntry sp_file_table[SP_FILE_ROLES];

/* Whether the run writes the file of that role. */
bool sp_file_is_written(const SpRunFile files[], SpFileRole role);

#endif
