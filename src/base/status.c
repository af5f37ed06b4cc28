#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

SpStatus sp_ok(void)
{
    return (SpStatus){.code = SP_OK};
}

SpStatus sp_error(SpCode code, const char *format, ...)
{
    SpStatus status = {.code = code};
    va_list args;
    va_start(args, format);
    vsnprintf(status.text, sizeof status.text, format, args);
    va_end(args);
    return status;
}

SpStatus sp_no_memory(const char *what)
{
    return sp_error(SP_MEMORY, "not enough memory for %s", what);
}
