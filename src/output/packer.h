/*
 * Bytes deflated, or as they are, into a stream, and what a ZIP archive says of them.
 */
#ifndef SP_OUTPUT_PACKER_H
#define SP_OUTPUT_PACKER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

typedef struct SpPacker {
    FILE *stream; /* a view */
    bool compress;
    z_stream deflate;
    uint64_t size, packed; /* bytes so far, and what became of them */
    uint32_t crc;
    bool failed; /* to write, by errno */
} SpPacker;

/* Nothing has been packed yet. False: there is no memory. Release with sp_packer_close; a zeroed
 * one may be. */
bool sp_packer_open(FILE *stream, bool compress, SpPacker *packer);
void sp_packer_close(SpPacker *packer);

/* Packs `bytes` more. `flush`, zlib's, ends what belongs together: Z_FINISH, or Z_FULL_FLUSH where
 * another deflate stream follows; what is packed then begins a new one. */
void sp_packer_add(SpPacker *packer, const void *data, size_t bytes, int flush);

#endif
