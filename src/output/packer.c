#include "output/packer.h"

#include <errno.h>

enum {
    CHUNK = 1 << 16,
    /* On float32 tracks and depth levels 1 to 6 end within 1 % of each other's size, and 6 takes
     * up to three times as long: only clean synthetic depth gains. */
    DEFLATE_LEVEL = 1
};

bool sp_packer_open(FILE *stream, bool compress, SpPacker *packer)
{
    *packer = (SpPacker){.stream = stream, .compress = compress};
    /* Negative window bits: a raw deflate stream, as ZIP has it. */
    return !compress || deflateInit2(&packer->deflate, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS,
                                     MAX_MEM_LEVEL - 1, Z_DEFAULT_STRATEGY) == Z_OK;
}

void sp_packer_close(SpPacker *packer)
{
    deflateEnd(&packer->deflate); /* does nothing to a zeroed one */
}

static void put(SpPacker *packer, const void *data, size_t bytes)
{
    packer->packed += bytes;
    if (!packer->failed && bytes)
        packer->failed = fwrite(data, 1, bytes, packer->stream) != bytes;
}

static void deflate_bytes(SpPacker *packer, const void *data, size_t bytes, int flush)
{
    unsigned char chunk[CHUNK];
    z_stream *z = &packer->deflate;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)bytes;
    int result;
    do {
        z->next_out = chunk;
        z->avail_out = sizeof chunk;
        result = deflate(z, flush);
        put(packer, chunk, sizeof chunk - z->avail_out);
    } while (flush == Z_FINISH ? result != Z_STREAM_END : z->avail_out == 0);
}

void sp_packer_add(SpPacker *packer, const void *data, size_t bytes, int flush)
{
    static const size_t piece = 1u << 30; /* zlib counts in 32 bits */
    const unsigned char *at = data;
    errno = 0;
    if (bytes)
        packer->crc = (uint32_t)crc32_z(packer->crc, at, bytes);
    packer->size += bytes;
    if (!packer->compress) {
        put(packer, at, bytes);
        return;
    }
    for (; bytes > piece; at += piece, bytes -= piece)
        deflate_bytes(packer, at, piece, Z_NO_FLUSH);
    deflate_bytes(packer, at, bytes, flush);
    if (flush != Z_NO_FLUSH)
        deflateReset(&packer->deflate);
}
