#pragma once

/// Marks a function whose loops are compiled twice, for AVX2 with FMA and for the plain
/// architecture; the loader picks one at start. Loops are written so that compilers vectorise them.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define EVOMOE_VECTORIZED __attribute__((target_clones("arch=haswell", "default")))
#else
#define EVOMOE_VECTORIZED
#endif

/// Helpers of such functions must become part of each version.
#define EVOMOE_INLINE inline __attribute__((always_inline))
