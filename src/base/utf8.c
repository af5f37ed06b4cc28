#include "base/utf8.h"

uint32_t sp_utf8_next(const char **at)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)*at;
    if (s[0] == 0)
        return 0;
    *at += 1;
    if (s[0] < 0x80)
        return s[0];
    const int more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return SP_UTF8_REPLACEMENT;
    uint32_t code = s[0] & (0x3fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return SP_UTF8_REPLACEMENT;
        code = code << 6 | (s[i] & 0x3fu);
    }
    if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return SP_UTF8_REPLACEMENT;
    *at += more;
    return code;
}

int sp_utf8_put(uint32_t code, char *out)
{
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        code = SP_UTF8_REPLACEMENT;
    const int bytes = code == 0 ? 0 : code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = bytes; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    if (bytes)
        out[0] = (char)(lead[bytes] | code);
    return bytes;
}
