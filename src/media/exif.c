#include "media/exif.h"

#include <string.h>

enum { ORIENTATION = 0x112, SHORT = 3 };

/* `bytes` bytes as a number; the caller has checked that they are there. */
static uint32_t number(const uint8_t *at, size_t bytes, bool little)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[little ? bytes - 1 - i : i];
    return value;
}

/* TIFF 6.0, "Image File Header" and "Image File Directory". */
static int tiff_orientation(const uint8_t *data, size_t size)
{
    const bool little = size >= 8 && memcmp(data, "II*\0", 4) == 0;
    if (!little && (size < 8 || memcmp(data, "MM\0*", 4) != 0))
        return 0;
    const size_t at = number(data + 4, 4, little);
    if (at > size - 2)
        return 0;
    const size_t entries = number(data + at, 2, little);
    for (size_t i = 0; i < entries && 12 * (i + 1) <= size - 2 - at; i++) {
        const uint8_t *entry = data + at + 2 + 12 * i;
        if (number(entry, 2, little) != ORIENTATION || number(entry + 2, 2, little) != SHORT)
            continue;
        const uint32_t value = number(entry + 8, 2, little);
        return value <= 8 ? (int)value : 0;
    }
    return 0;
}

/* PNG (third edition), "Chunk layout": length, name, data, CRC. */
static int png_orientation(const uint8_t *data, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        const size_t length = number(data + at, 4, false);
        if (length > size - at - 12)
            return 0;
        if (memcmp(data + at + 4, "eXIf", 4) == 0)
            return tiff_orientation(data + at + 8, length);
        at += length + 12;
    }
    return 0;
}

int sp_exif_orientation(const uint8_t *data, size_t size)
{
    return size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0 ? png_orientation(data, size)
                                                                  : tiff_orientation(data, size);
}

bool sp_jpeg_is_cut(const uint8_t *data, size_t size)
{
    enum { START_OF_SCAN = 0xDA, END_OF_IMAGE = 0xD9 };
    size_t at = 2; /* segments: ff, the marker, two bytes of length with themselves */
    while (size >= 4 && at <= size - 4 && data[at] == 0xFF && data[at + 1] != START_OF_SCAN)
        at += data[at + 1] == 0xFF ? 1 : 2 + number(data + at + 2, 2, false);
    for (; at + 1 < size; at++) /* ff stands before 00 or a restart marker within a scan */
        if (data[at] == 0xFF && data[at + 1] == END_OF_IMAGE)
            return false;
    return true;
}
