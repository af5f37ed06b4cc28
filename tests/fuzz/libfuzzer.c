/* libFuzzer's entry points (https://llvm.org/docs/LibFuzzer.html): one program for all targets, of
 * which $SPATRACK_FUZZ names the one to run. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/targets.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FuzzTarget *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    target = fuzz_target(getenv("SPATRACK_FUZZ"));
    if (!target) {
        fprintf(stderr, "SPATRACK_FUZZ names no target\n");
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target(data, size);
    if (fuzz_blocks_left())
        abort(); /* a leak, which AddressSanitizer cannot see: the list of blocks refers to it */
    return 0;
}
