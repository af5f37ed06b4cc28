/*
 * Files without a name, for what is too much for memory: they are gone when they are closed,
 * however the process ends.
 */
#ifndef SP_BASE_SCRATCH_H
#define SP_BASE_SCRATCH_H

/* Opens one for reading and writing in the folder that holds `beside`, in $TMPDIR, or else in
 * /var/tmp, where that is NULL; *folder, if it is not NULL, becomes a view of the latter's name. -1
 * with errno. */
int sp_scratch_open(const char *beside, const char **folder);

#endif
