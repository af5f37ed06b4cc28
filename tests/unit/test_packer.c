/* Deflated bytes: the same wherever the memory lies and in whatever pieces a short stream comes,
 * and zlib reads them. */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <isa-l.h>
#include <zlib.h>

#include "output/packer.h"

enum { SHORT = 600 };

typedef struct Packed {
    char *bytes;
    size_t size;
} Packed;

static void inflates_to(const Packed *packed, const unsigned char *data, size_t bytes)
{
    unsigned char *out = malloc(bytes + 1);
    z_stream z = {.next_in = (Bytef *)packed->bytes, .avail_in = (uInt)packed->size};
    z.next_out = out;
    z.avail_out = (uInt)bytes + 1;
    assert_non_null(out);
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, bytes);
    assert_int_equal(z.avail_in, 0);
    assert_memory_equal(out, data, bytes);
    inflateEnd(&z);
    free(out);
}

/* A stream of all bytes but the last ten, and one of those. */
static Packed pack(const unsigned char *data, size_t bytes, size_t piece)
{
    Packed packed = {0};
    FILE *stream = open_memstream(&packed.bytes, &packed.size);
    SpPacker packer;
    const size_t last = bytes < 10 ? bytes : 10, first = bytes - last;
    assert_non_null(stream);
    assert_true(sp_packer_open(stream, true, &packer));
    for (size_t at = 0; at < first; at += piece)
        sp_packer_add(&packer, data + at, first - at < piece ? first - at : piece, SP_PACK_MORE);
    sp_packer_add(&packer, NULL, 0, SP_PACK_ANOTHER);
    sp_packer_add(&packer, data + first, last, SP_PACK_LAST);
    assert_false(packer.failed);
    assert_int_equal(packer.size, bytes);
    sp_packer_close(&packer);
    fclose(stream);
    assert_int_equal(packer.packed, packed.size);
    return packed;
}

static void short_streams_do_not_depend_on_their_pieces(void **state)
{
    (void)state;
    unsigned char data[SHORT];
    for (size_t i = 0; i < SHORT; i++)
        data[i] = (unsigned char)(i / 20 * 7);
    for (size_t bytes = 0; bytes <= SHORT; bytes += bytes < 40 ? 1 : 77) {
        Packed whole = pack(data, bytes, SHORT);
        inflates_to(&whole, data, bytes);
        for (size_t piece = 1; piece < 40; piece += 3) {
            Packed pieces = pack(data, bytes, piece);
            inflates_to(&pieces, data, bytes);
            if (bytes <= sizeof(SpPacker){0}.head + 10) {
                assert_int_equal(pieces.size, whole.size);
                assert_memory_equal(pieces.bytes, whole.bytes, whole.size);
            }
            free(pieces.bytes);
        }
        free(whole.bytes);
    }
}

/* ISA-L enters a stream's third byte into its table by bits 16 and up of its state's address; here
 * are addresses for each of the 8192 slots, a few of which are those of the neighbouring bytes. */
static void bytes_do_not_depend_on_where_the_memory_lies(void **state)
{
    (void)state;
    enum { STEP = 1 << 16, PLACES = 3 * 8192 };
    float data[SHORT / sizeof(float)];
    for (size_t i = 0; i < SHORT / sizeof(float); i++)
        data[i] = 1;
    const size_t reserved = (size_t)STEP * PLACES + sizeof(struct isal_zstream);
    char *memory = mmap(NULL, reserved, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    char expected[SHORT], bytes[SHORT];
    FILE *stream = fmemopen(bytes, sizeof bytes, "wb");
    assert_non_null(stream);
    SpPacker packer;
    assert_true(sp_packer_open(stream, true, &packer));
    struct isal_zstream *opened = packer.deflate;
    for (int i = 0; i < PLACES; i++) {
        packer.deflate = (struct isal_zstream *)(void *)(memory + (size_t)i * STEP);
        memcpy(packer.deflate, opened, sizeof *opened);
        memset(bytes, 0, sizeof bytes);
        rewind(stream);
        sp_packer_add(&packer, data, SHORT, SP_PACK_LAST);
        assert_false(packer.failed);
        assert_int_equal(fflush(stream), 0);
        if (i == 0)
            memcpy(expected, bytes, sizeof bytes);
        assert_memory_equal(bytes, expected, sizeof bytes);
        madvise(packer.deflate, sizeof *opened, MADV_DONTNEED);
    }
    packer.deflate = opened;
    sp_packer_close(&packer);
    fclose(stream);
    munmap(memory, reserved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_streams_do_not_depend_on_their_pieces),
        cmocka_unit_test(bytes_do_not_depend_on_where_the_memory_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
