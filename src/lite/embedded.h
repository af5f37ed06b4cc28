/*
 * The default checkpoints, linked into the program as they are: safetensors whose metadata holds
 * the configuration ("config") and whether they were trained ("trained").
 */
#ifndef SP_LITE_EMBEDDED_H
#define SP_LITE_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of model `name` ("front", "offline", "online", "sam-lite"), which live as long as the
 * program; false: there is no such model. The tracker's are the same in both modes, whose windows
 * sp_tracker_open chooses. */
bool sp_embedded(const char *name, const void **data, size_t *size);

#endif
