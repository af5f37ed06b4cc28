/* Host memory: how much there is to have, and how much was used. */
#ifndef SP_BASE_MEMORY_H
#define SP_BASE_MEMORY_H

#include <stddef.h>

/* Bytes this process can still take: the smallest of what the system has available, its cgroup's
 * limit and its own address space limit. SIZE_MAX when none of them is known. */
size_t sp_memory_available(void);

/* Gives back to the system what was freed, which allocators of threads that have ended may hold. */
void sp_memory_trim(void);

/* The peak of resident bytes so far, mapped files included; 0 when it is not known. */
size_t sp_memory_peak(void);

/* Resident bytes now, mapped files included; 0 when it is not known. */
size_t sp_memory_resident(void);

#endif
