/*
 * Where a model's checkpoint is found: what the user names, the user's data folder, the installed
 * one, or the one built into the program.
 */
#ifndef SP_STORE_LOCATE_H
#define SP_STORE_LOCATE_H

#include "store/checkpoint.h"

enum { SP_FOLDER_CAPACITY = 4096 };

typedef struct SpLocated {
    bool embedded;
    char folder[SP_FOLDER_CAPACITY]; /* unless embedded */
    const char *where;               /* "--weights", "$SPATRACK_WEIGHTS", ... */
} SpLocated;

/* Finds the folder of model `name` ("front", "offline", "online", "sam-base", ...): `given`
 * (--weights) or else $SPATRACK_WEIGHTS, where it must then be; else $XDG_DATA_HOME or
 * ~/.local/share, then the installed data folder, each with spatrack/weights/NAME, if it is there;
 * else the embedded one. SP_CHECKPOINT when the user's folder does not have it. */
SpStatus sp_weights_locate(const char *given, const char *name, SpLocated *out);

/* Whether there is something to open: a folder was found, or the program has the model built in. */
bool sp_weights_exist(const SpLocated *located, const char *name);

/* Opens what was located. SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_weights_open(const SpLocated *located, const char *name, SpCheckpoint **out);

#endif
