/* What the two directions of npz, and their tests, share. */
#ifndef SP_OUTPUT_NPZ_INTERNAL_H
#define SP_OUTPUT_NPZ_INTERNAL_H

#include "output/npz.h"

/* APPNOTE sections 4.3 and 4.5.3. */
enum {
    ZIP_LOCAL = 0x04034b50,
    ZIP_DESCRIPTOR = 0x08074b50,
    ZIP_CENTRAL = 0x02014b50,
    ZIP_END = 0x06054b50,
    ZIP64_END = 0x06064b50,
    ZIP64_LOCATOR = 0x07064b50,
    ZIP64_EXTRA = 0x0001,
    ZIP_STORED = 0,
    ZIP_DEFLATED = 8,
    ZIP_FLAG_ENCRYPTED = 1,
    ZIP_LOCAL_SIZE = 30,
    ZIP_CENTRAL_SIZE = 46,
    ZIP_END_SIZE = 22,
    ZIP64_END_SIZE = 56,
    ZIP64_LOCATOR_SIZE = 20,
};

/* As sp_npz_create; sizes, offsets and counts from `zip64_from` on go to ZIP64 records. */
SpStatus sp_npz_create_limited(FILE *stream, const char *label, bool compress, uint32_t zip64_from,
                               SpNpzWriter **out);

#endif
