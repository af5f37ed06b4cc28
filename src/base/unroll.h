/*
 * SP_UNROLL(n) before a loop of at most n turns, whose number the compiler knows: they are
 * written out, so that arrays which the loop indexes can stay in registers.
 */
#ifndef SP_BASE_UNROLL_H
#define SP_BASE_UNROLL_H

#if defined(__clang__)
#define SP_UNROLL(n) _Pragma("unroll")
#else
#define SP_PRAGMA(text) _Pragma(#text)
#define SP_UNROLL(n)    SP_PRAGMA(GCC unroll n)
#endif

#endif
