#define _GNU_SOURCE

#include "base/blas.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static SpBlas table;
#ifdef SP_BLAS_LINKED

SpStatus sp_blas_load(void)
{
#define SET(name) table.name = name;
    SP_BLAS_FUNCTIONS(SET)
    return sp_ok();
}

#else

static bool loaded;

/* Its code, and the buffer that some versions allocate while they are loaded. */
static const size_t NEEDED = (size_t)192 << 20;

/* Whether the library has the function, which goes to *out. */
static bool find(void *library, const char *name, void *out)
{
    void *function = dlsym(library, name);
    memcpy(out, &function, sizeof function);
    return function;
}

SpStatus sp_blas_load(void)
{
    if (loaded)
        return sp_ok();
    void *probe = mmap(NULL, NEEDED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED || munmap(probe, NEEDED) != 0)
        return sp_no_memory("OpenBLAS");
    setenv("OPENBLAS_NUM_THREADS", "1", 1); /* it reads this while it is loaded */
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return sp_error(SP_DEVICE, "cannot load OpenBLAS: %.400s", dlerror());
    bool whole = true;
#define FIND(name) whole = find(library, #name, &table.name) && whole;
    SP_BLAS_FUNCTIONS(FIND)
    find(library, "openblas_get_config", &table.get_config);
    find(library, "blas_memory_alloc", &table.memory_alloc);
    find(library, "blas_memory_free", &table.memory_free);
    loaded = whole;
    return whole ? sp_ok() : sp_error(SP_DEVICE, "this OpenBLAS lacks functions of CBLAS");
}

#endif

const SpBlas *sp_blas(void)
{
    if (!table.cblas_sgemm)
        (void)sp_blas_load();
    return &table;
}
