/*
 * Instruction sets. Files that are compiled once for each of them (cpu_isas in meson.build) have
 * SP_ISA defined and name their functions SP_FN(name), so that the copies live side by side; who
 * calls them picks one that the processor has.
 */
#ifndef SP_BASE_ISA_H
#define SP_BASE_ISA_H

#include <stdbool.h>

#define SP_JOIN_(a, b) a##_##b
#define SP_JOIN(a, b)  SP_JOIN_(a, b)
#define SP_FN(name)    SP_JOIN(name, SP_ISA)

static inline bool sp_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#ifdef SP_WITHOUT_AVX512 /* they are not built: -Davx512=false */

#define sp_has_avx512()      false
#define sp_has_avx512_bf16() false

#else

static inline bool sp_has_avx512(void)
{
    return sp_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

static inline bool sp_has_avx512_bf16(void)
{
    return sp_has_avx512() && __builtin_cpu_supports("avx512bf16");
}

#endif

#endif
