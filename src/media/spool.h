/*
 * Standard input that can be read twice: a pipe is spooled to a file.
 */
#ifndef SP_MEDIA_SPOOL_H
#define SP_MEDIA_SPOOL_H

#include "base/status.h"

/* Makes standard input seekable. A pipe is read to its end into a nameless file in $TMPDIR, or else
 * in /var/tmp, which takes its place; a file stays as it is. SP_INPUT when the pipe cannot be read,
 * SP_OUTPUT naming the folder when the file cannot be written. */
SpStatus sp_spool_stdin(void);

/* Back to where standard input stood at sp_spool_stdin, for the next reader. SP_INPUT. */
SpStatus sp_spool_rewind(void);

#endif
