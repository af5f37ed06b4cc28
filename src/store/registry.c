#include "store/registry.h"

#include <unistd.h>

#include "lite/embedded.h"

static const SpModelInfo models[SP_MODELS] = {
    [SP_MODEL_FRONT] = {"front", .published = true, .compact = true, .builtin = SP_LITE_FRONT},
    [SP_MODEL_OFFLINE] = {"offline", .published = true, .builtin = SP_LITE_TRACKER},
    [SP_MODEL_ONLINE] = {"online", .published = true, .builtin = SP_LITE_TRACKER},
    [SP_MODEL_SAM_BASE] = {"sam-base", .published = true, .compact = true},
    [SP_MODEL_SAM_LARGE] = {"sam-large", .published = true, .compact = true},
    [SP_MODEL_SAM_HUGE] = {"sam-huge", .published = true, .compact = true},
    [SP_MODEL_SAM_LITE] = {"sam-lite", .builtin = SP_LITE_SAM},
};

const char *sp_weights_make(void)
{
    static const char installed[] = "make -f " SP_DATADIR "/spatrack/weights.mk";
    return access(SP_DATADIR "/spatrack/weights.mk", R_OK) == 0 ? installed : "make -f weights.mk";
}

const SpModelInfo *sp_model_info(SpModelId id)
{
    return &models[id];
}
