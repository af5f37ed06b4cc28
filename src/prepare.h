/* --prepare: the compact copy of the front's published weights (store/compact.h). */
#ifndef SP_PREPARE_H
#define SP_PREPARE_H

#include "base/status.h"
#include "console.h"

/* Makes the copy beside the front's weights, found as a run would (`weights` is --weights or NULL),
 * whole or not at all; one that is there and current stays. SP_CHECKPOINT where the front's weights
 * are built in or bad; SP_OUTPUT; SP_MEMORY. */
SpStatus sp_prepare(const char *weights, SpConsole *console);

#endif
