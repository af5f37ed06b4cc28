/*
 * The default checkpoints, linked into the program as they are: safetensors whose metadata holds
 * the configuration ("config") and whether they were trained ("trained").
 */
#ifndef SP_LITE_EMBEDDED_H
#define SP_LITE_EMBEDDED_H

#include <stddef.h>

/* The tracker's weights are the same in both modes, whose windows sp_tracker_open chooses. */
typedef enum SpLiteWeights {
    SP_LITE_NONE,
    SP_LITE_FRONT,
    SP_LITE_TRACKER,
    SP_LITE_SAM
} SpLiteWeights;

/* The bytes of a checkpoint, which live as long as the program, and their number in *size; NULL for
 * SP_LITE_NONE. */
const void *sp_embedded(SpLiteWeights weights, size_t *size);

#endif
