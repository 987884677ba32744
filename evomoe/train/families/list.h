#pragma once

/// The families of models: what a new one adds. FAMILY(name) stands for the function
/// `std::unique_ptr<ModelFamily> make_name_family()` of train/families/name.cpp.
#define EVOMOE_FAMILIES(FAMILY) \
  FAMILY(language_model)        \
  FAMILY(roberta)               \
  FAMILY(encoder_decoder)
