/* SHA-256 (FIPS 180-4). */
#ifndef SP_BASE_SHA256_H
#define SP_BASE_SHA256_H

#include <stddef.h>

enum { SP_SHA256_CAPACITY = 65 };

/* The hash of `size` bytes as lower case hexadecimal digits. */
void sp_sha256(const void *data, size_t size, char out[SP_SHA256_CAPACITY]);

#endif
