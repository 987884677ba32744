#pragma once

#include <string>

/// LibTorch's matrix products on the CPU are MKL's. MKL asks who made the processor before it asks
/// what it can do, and runs AVX2 code on AMD's machines with AVX-512: half of their speed or less.
/// A program that links evomoe::mkl_dispatch (ours does) answers that question by capability
/// instead: a processor with AVX-512 (F, CD, BW, DQ, VL) gets MKL's AVX-512 code. All others keep
/// MKL's own choice, and so does every machine with EVOMOE_MKL_BY_VENDOR=1 in the environment.
namespace evomoe::kernels {

/// Who decides and why, for a person: "AVX-512, by capability (...)".
std::string mkl_dispatch();

}  // namespace evomoe::kernels
