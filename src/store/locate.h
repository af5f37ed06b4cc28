/*
 * Where a model's checkpoint is found: what the user names, the user's data folder, the installed
 * one, or the one built into the program.
 */
#ifndef SP_STORE_LOCATE_H
#define SP_STORE_LOCATE_H

#include "store/checkpoint.h"
#include "store/registry.h"

enum { SP_FOLDER_CAPACITY = 4096 };

typedef struct SpLocated {
    SpModelId model;
    bool embedded;
    char folder[SP_FOLDER_CAPACITY]; /* unless embedded */
    const char *where;               /* "--weights", "$SPATRACK_WEIGHTS", ...; static */
} SpLocated;

/* Finds the folder of a model: in `weights` (--weights; may be NULL) or else in $SPATRACK_WEIGHTS,
 * where it must then be; else in spatrack/weights of $XDG_DATA_HOME or
 * ~/.local/share, then of the installed data folder; else it is the embedded one. SP_CHECKPOINT
 * when the folder the user names does not have it. */
SpStatus sp_weights_locate(const char *weights, SpModelId model, SpLocated *out);

/* Whether there is something to open: a folder was found, or the program has the model built in. */
bool sp_weights_exist(const SpLocated *located);

/* Opens what was located; the caller closes it. SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_weights_open(const SpLocated *located, SpCheckpoint **out);

#endif
