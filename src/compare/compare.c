#include "compare/compare.h"

#include "compare/measure.h"
#include "compare/print.h"
#include "compare/results.h"

static SpStatus compare(const SpComparedResult results[2], const SpTolerances *tolerances,
                        bool json, FILE *stream)
{
    SpComparison comparison;
    SP_TRY(sp_comparison_measure(results, tolerances, &comparison));
    if (json)
        SP_TRY(sp_comparison_print_json(&comparison, stream));
    else
        sp_comparison_print(&comparison, stream);
    return comparison.within ? sp_ok()
                             : sp_error(SP_DIFFERENT, "%.150s is not as expected: %s",
                                        results[1].path, comparison.different);
}

SpStatus sp_compare(const char *expected, const char *actual, const SpTolerances *tolerances,
                    bool json, FILE *stream)
{
    SpComparedResult results[2] = {0};
    SpStatus status = sp_compared_open(expected, &results[0]);
    if (status.code == SP_OK)
        status = sp_compared_open(actual, &results[1]);
    if (status.code == SP_OK)
        status = compare(results, tolerances, json, stream);
    sp_compared_close(&results[0]);
    sp_compared_close(&results[1]);
    return status;
}
