/*
 * Every model the program knows, and where its weights may come from: the one place that names
 * them.
 */
#ifndef SP_STORE_REGISTRY_H
#define SP_STORE_REGISTRY_H

#include <stdbool.h>

/* In the order that --info prints; the SAMs from the smallest published to the largest. */
typedef enum SpModelId {
    SP_MODEL_FRONT,
    SP_MODEL_OFFLINE,
    SP_MODEL_ONLINE,
    SP_MODEL_SAM_BASE,
    SP_MODEL_SAM_LARGE,
    SP_MODEL_SAM_HUGE,
    SP_MODEL_SAM_LITE,
    SP_MODELS
} SpModelId;

typedef struct SpModelInfo {
    const char *name; /* of its folder and of the target of weights.mk */
    bool published;   /* there are published weights, which --info looks for */
    bool compact;     /* --prepare makes a compact copy of them (store/compact.h) */
    int builtin;      /* SpLiteWeights of lite/embedded.h: what the program has built in */
} SpModelInfo;

/* The command that fetches published weights, to be followed by models' names: make with the
 * weights.mk of the data folder where the program is installed, else of the checkout. Static. */
const char *sp_weights_make(void);

/* The row of a model; static. */
const SpModelInfo *sp_model_info(SpModelId id);

#endif
