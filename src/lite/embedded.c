#include "lite/embedded.h"

#include <string.h>

/* The assembler puts the files into read-only pages: nothing is copied at the start. */
#define EMBED(name)                                                                                \
    __asm__(".section .rodata\n"                                                                   \
            ".balign 64\n"                                                                         \
            ".globl sp_embedded_" #name "\n"                                                       \
            ".globl sp_embedded_" #name "_end\n"                                                   \
            "sp_embedded_" #name ":\n"                                                             \
            ".incbin \"" SP_LITE_DIR "/" #name ".safetensors\"\n"                                  \
            "sp_embedded_" #name "_end:\n"                                                         \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char sp_embedded_##name[], sp_embedded_##name##_end[]

EMBED(front);
EMBED(offline);

bool sp_embedded(const char *name, const void **data, size_t *size)
{
    const bool front = strcmp(name, "front") == 0;
    if (!front && strcmp(name, "offline") != 0 && strcmp(name, "online") != 0)
        return false;
    const char *begin = front ? sp_embedded_front : sp_embedded_offline;
    *data = begin;
    *size = (size_t)((front ? sp_embedded_front_end : sp_embedded_offline_end) - begin);
    return true;
}
