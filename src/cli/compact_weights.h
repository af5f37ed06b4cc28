/* --prepare: compact copies of the published weights (store/compact.h). */
#ifndef SP_CLI_COMPACT_WEIGHTS_H
#define SP_CLI_COMPACT_WEIGHTS_H

#include "base/console.h"
#include "base/status.h"

/* Makes the copies beside the front's and SAM's weights that are installed, found as a run would
 * (`weights` is --weights or NULL), each whole or not at all; one that is there and current stays.
 * SP_CHECKPOINT where there are none, or bad ones; SP_OUTPUT; SP_MEMORY. */
SpStatus sp_compact_weights(const char *weights, SpConsole *console);

#endif
