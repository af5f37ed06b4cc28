/*
 * Standard input, read twice.
 */
#ifndef SP_MEDIA_SPOOL_H
#define SP_MEDIA_SPOOL_H

#include "base/status.h"

/* Makes standard input a file that can be read again. A pipe is read to its end into a nameless
 * file in $TMPDIR, or else in /var/tmp, which takes its place; a file stays as it is. SP_INPUT when
 * the pipe cannot be read, SP_OUTPUT naming the folder when there is no room for the file. */
SpStatus sp_spool_stdin(void);

/* Back to where standard input stood at sp_spool_stdin, for the next reader. SP_INPUT. */
SpStatus sp_spool_rewind(void);

#endif
