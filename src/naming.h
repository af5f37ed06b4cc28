/* Where the result of a job goes. */
#ifndef SP_NAMING_H
#define SP_NAMING_H

#include "job.h"

enum { SP_NAME_ROOM = 4096 };

/* The name asked for, or the video's with .npz in place of its end. SP_USAGE when it is too long or
 * would replace the video or the report; SP_OUTPUT when it exists and --no-clobber keeps it. */
SpStatus sp_name_result(const SpJob *job, char name[SP_NAME_ROOM]);

#endif
