/*
 * What flags say together: which exclude each other, and which go with others alone.
 */
#ifndef SP_CLI_OPTION_CHECKS_H
#define SP_CLI_OPTION_CHECKS_H

#include "cli/options.h"

/* Looks at the flags that have been read, of every video by itself, and fills in the tolerances of
 * --compare that were not given. SP_USAGE in one line; SP_MEMORY. */
SpStatus sp_options_check(SpOptions *options);

#endif
