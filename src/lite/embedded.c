#include "lite/embedded.h"

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

const void *sp_embedded(SpLiteWeights weights, size_t *size)
{
    static const struct {
        const char *begin, *end;
    } embedded[] = {[SP_LITE_FRONT] = {sp_embedded_front, sp_embedded_front_end},
                    [SP_LITE_TRACKER] = {sp_embedded_offline, sp_embedded_offline_end},
                    [SP_LITE_SAM] = {sp_embedded_sam, sp_embedded_sam_end}};
    *size = (size_t)(embedded[weights].end - embedded[weights].begin);
    return embedded[weights].begin;
}
