#define _GNU_SOURCE
#include "gpu/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static int passed, failed;

bool check(bool good, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    passed += good;
    failed += !good;
    printf("%s %d - ", good ? "ok" : "not ok", passed + failed);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    va_end(arguments);
    return good;
}

void fact(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("# fact: ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    va_end(arguments);
}

bool check_status(SpStatus status, const char *name)
{
    return check(status.code == SP_OK, "%s%s%s", name, status.code == SP_OK ? "" : ": ",
                 status.text);
}

int check_end(void)
{
    printf("1..%d\n%d passed, %d failed\n", passed + failed, passed, failed);
    return failed > 0;
}

double worst_error(const float *a, const float *b, int64_t count)
{
    double worst = 0, unit = 1;
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)a[i] - (double)b[i]);
        if (!(error <= 1e30))
            return INFINITY;
        worst = fmax(worst, error);
        unit = fmax(unit, fabs((double)b[i]));
    }
    return worst / unit;
}

double correlation(const float *a, const float *b, int64_t count)
{
    double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int64_t i = 0; i < count; i++) {
        ma += (double)a[i] / (double)count;
        mb += (double)b[i] / (double)count;
    }
    for (int64_t i = 0; i < count; i++) {
        const double x = (double)a[i] - ma, y = (double)b[i] - mb;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    return ab / sqrt(aa * bb);
}
