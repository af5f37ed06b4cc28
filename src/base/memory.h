/* Host memory: how much there is to have, and how much was used. */
#ifndef SP_BASE_MEMORY_H
#define SP_BASE_MEMORY_H

#include <stddef.h>

/* Bytes this process can still take: the smallest of what the system has available, what its
 * control groups leave (sp_memory_of_groups) and its own address space limit. SIZE_MAX when none of
 * them is known. */
size_t sp_memory_available(void);

/* Bytes that the control group of this process and those around it leave, of version 1 and 2, as a
 * batch system, systemd or a container sets them: the smallest of limit - used, without the files
 * that are cached. SIZE_MAX without a limit. `root` comes before /proc and /sys: "". */
size_t sp_memory_of_groups(const char *root);

/* Gives back to the system what was freed, which allocators of threads that have ended may hold. */
void sp_memory_trim(void);

/* The peak of resident bytes so far, mapped files included; 0 when it is not known. */
size_t sp_memory_peak(void);

/* Resident bytes now, mapped files included; 0 when it is not known. */
size_t sp_memory_resident(void);

#endif
