/*
 * File names and arguments are bytes; npz and JSON want Unicode.
 */
#ifndef SP_BASE_UTF8_H
#define SP_BASE_UTF8_H

#include <stdint.h>

enum { SP_UTF8_REPLACEMENT = 0xfffd };

/* The code point at *at, which is moved behind it; U+FFFD for a byte that is no valid UTF-8
 * (RFC 3629: no overlong forms, no surrogates). 0 at the end of the string, where *at stays. */
uint32_t sp_utf8_next(const char **at);

/* Writes a code point, at most 4 bytes and no zero behind them; nothing for 0, and U+FFFD for what
 * is none. Returns how many bytes. */
int sp_utf8_put(uint32_t code, char *out);

#endif
