/*
 * Bytes deflated, or as they are, into a stream, and what a ZIP archive says of them.
 */
#ifndef SP_OUTPUT_PACKER_H
#define SP_OUTPUT_PACKER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct SpPacker {
    FILE *stream;                 /* a view */
    struct isal_zstream *deflate; /* raw; NULL: bytes stay as they are */
    uint8_t *work;                /* of it */
    uint8_t head[16];             /* a stream's first bytes, deflated by themselves */
    uint32_t head_bytes;          /* of them so far */
    uint64_t size, packed;        /* bytes so far, and what became of them */
    uint32_t crc;
    bool failed; /* to write, by errno */
} SpPacker;

/* What comes after some bytes: more of the same, another deflate stream, nothing. */
typedef enum SpPackerEnd { SP_PACK_MORE, SP_PACK_ANOTHER, SP_PACK_LAST } SpPackerEnd;

/* Nothing has been packed yet. False: there is no memory. Release with sp_packer_close; a zeroed
 * one may be. */
bool sp_packer_open(FILE *stream, bool compress, SpPacker *packer);
void sp_packer_close(SpPacker *packer);

/* Starts counting anew, for the next member. */
void sp_packer_reset(SpPacker *packer);

/* Packs `bytes` more. SP_PACK_ANOTHER fills up to a whole byte, so that other streams may follow.
 */
void sp_packer_add(SpPacker *packer, const void *data, size_t bytes, SpPackerEnd end);

#endif
