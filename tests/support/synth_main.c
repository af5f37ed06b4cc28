/* synth MANIFEST FOLDER [F32|F16|BF16]: writes a synthetic checkpoint (see synth.h). */
#include <stdio.h>
#include <string.h>

#include "support/synth.h"

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: synth MANIFEST FOLDER [F32|F16|BF16]\n", stderr);
        return SP_USAGE;
    }
    const char *dtype = argc > 3 ? argv[3] : "F32";
    const SpStatus status = synth_checkpoint(argv[1], argv[2],
                                             strcmp(dtype, "F16") == 0    ? SP_F16
                                             : strcmp(dtype, "BF16") == 0 ? SP_BF16
                                                                          : SP_F32);
    if (status.code != SP_OK)
        fprintf(stderr, "synth: %s\n", status.text);
    return (int)status.code;
}
