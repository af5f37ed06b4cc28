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
    packer->head_bytes = 0;
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

static void run_deflate(SpPacker *packer, const void *data, uint32_t bytes, uint16_t flush,
                        bool last)
{
    unsigned char chunk[CHUNK];
    struct isal_zstream *z = packer->deflate;
    z->next_in = (uint8_t *)(uintptr_t)data;
    z->avail_in = bytes;
    z->flush = flush;
    z->end_of_stream = last;
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
             (last && z->internal_state.state != ZSTATE_END));
}

/* Gathers a stream's first bytes and deflates them by themselves; returns how many it took.
 * ISA-L's fast body (2.30 and later; igzip_icf_body_h1_gr_bt.asm, .write_first_byte) enters
 * a stream's third byte into its table by the address of its own state instead of by the bytes, so
 * that one run in hundreds finds other matches than the rest. Its slow end, where a flush of so
 * few bytes is done, does not. */
static size_t begin_with_head(SpPacker *packer, const unsigned char *data, size_t bytes)
{
    const size_t room = sizeof packer->head - packer->head_bytes;
    const size_t taken = bytes < room ? bytes : room;
    if (taken == 0)
        return 0;
    memcpy(packer->head + packer->head_bytes, data, taken);
    packer->head_bytes += (uint32_t)taken;
    if (packer->head_bytes == sizeof packer->head)
        run_deflate(packer, packer->head, sizeof packer->head, SYNC_FLUSH, false);
    return taken;
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
    const size_t taken = begin_with_head(packer, at, bytes);
    if (taken > 0)
        at += taken, bytes -= taken;
    for (; bytes > piece; at += piece, bytes -= piece)
        run_deflate(packer, at, (uint32_t)piece, NO_FLUSH, false);
    if (end == SP_PACK_MORE) {
        if (bytes)
            run_deflate(packer, at, (uint32_t)bytes, NO_FLUSH, false);
        return;
    }
    if (packer->head_bytes < sizeof packer->head)
        at = packer->head, bytes = packer->head_bytes;
    /* What zlib calls a full flush: nothing before it is looked at again. */
    run_deflate(packer, at, (uint32_t)bytes, end == SP_PACK_ANOTHER ? FULL_FLUSH : NO_FLUSH,
                end == SP_PACK_LAST);
    begin_stream(packer);
}
