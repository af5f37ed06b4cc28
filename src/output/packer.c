#include "output/packer.h"

#include <errno.h>
#include <isa-l.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 1 << 16,
    /* On float32 tracks, depth and pictures level 1 ends within 2 % of what zlib makes at any
     * level, in a twentieth of the time of its lowest. */
    LEVEL = 1
};

/* A stream's bytes must not depend on what went before: its tables are as new. */
static void begin_stream(SpPacker *packer)
{
    memset(packer->work, 0, ISAL_DEF_LVL1_DEFAULT);
    isal_deflate_init(packer->deflate);
    packer->deflate->level = LEVEL;
    packer->deflate->level_buf = packer->work;
    packer->deflate->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
}

bool sp_packer_open(FILE *stream, bool compress, SpPacker *packer)
{
    *packer = (SpPacker){.stream = stream};
    if (!compress)
        return true;
    packer->deflate = malloc(sizeof *packer->deflate);
    packer->work = malloc(ISAL_DEF_LVL1_DEFAULT);
    if (!packer->deflate || !packer->work) {
        sp_packer_close(packer);
        return false;
    }
    begin_stream(packer);
    return true;
}

void sp_packer_close(SpPacker *packer)
{
    free(packer->deflate);
    free(packer->work);
    packer->deflate = NULL;
    packer->work = NULL;
}

void sp_packer_reset(SpPacker *packer)
{
    packer->size = packer->packed = 0;
    packer->crc = 0;
}

static void put(SpPacker *packer, const void *data, size_t bytes)
{
    packer->packed += bytes;
    if (!packer->failed && bytes)
        packer->failed = fwrite(data, 1, bytes, packer->stream) != bytes;
}

/* What zlib calls a full flush: nothing before it is looked at again. */
static void deflate_bytes(SpPacker *packer, const void *data, uint32_t bytes, SpPackerEnd end)
{
    unsigned char chunk[CHUNK];
    struct isal_zstream *z = packer->deflate;
    z->next_in = (uint8_t *)(uintptr_t)data;
    z->avail_in = bytes;
    z->flush = end == SP_PACK_ANOTHER ? FULL_FLUSH : NO_FLUSH;
    z->end_of_stream = end == SP_PACK_LAST;
    do {
        z->next_out = chunk;
        z->avail_out = sizeof chunk;
        if (isal_deflate(z) != COMP_OK) {
            packer->failed = true;
            errno = EIO;
            return;
        }
        put(packer, chunk, sizeof chunk - z->avail_out);
    } while (z->avail_out == 0 || z->avail_in > 0 ||
             (end == SP_PACK_LAST && z->internal_state.state != ZSTATE_END));
    if (end != SP_PACK_MORE)
        begin_stream(packer);
}

void sp_packer_add(SpPacker *packer, const void *data, size_t bytes, SpPackerEnd end)
{
    static const size_t piece = 1u << 30; /* it counts in 32 bits */
    const unsigned char *at = data;
    if (!packer->failed) /* whose errno stays */
        errno = 0;
    if (bytes)
        packer->crc = crc32_gzip_refl(packer->crc, at, bytes);
    packer->size += bytes;
    if (!packer->deflate) {
        put(packer, at, bytes);
        return;
    }
    for (; bytes > piece; at += piece, bytes -= piece)
        deflate_bytes(packer, at, (uint32_t)piece, SP_PACK_MORE);
    deflate_bytes(packer, at, (uint32_t)bytes, end);
}
