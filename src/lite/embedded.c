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
EMBED(sam);

static const struct {
    const char *name, *begin, *end;
} embedded[] = {{"front", sp_embedded_front, sp_embedded_front_end},
                {"offline", sp_embedded_offline, sp_embedded_offline_end},
                {"online", sp_embedded_offline, sp_embedded_offline_end},
                {"sam-lite", sp_embedded_sam, sp_embedded_sam_end}};

bool sp_embedded(const char *name, const void **data, size_t *size)
{
    for (size_t i = 0; i < sizeof embedded / sizeof *embedded; i++)
        if (strcmp(name, embedded[i].name) == 0) {
            *data = embedded[i].begin;
            *size = (size_t)(embedded[i].end - embedded[i].begin);
            return true;
        }
    return false;
}
