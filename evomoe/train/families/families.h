#pragma once

#include "evomoe/train/model_family.h"

/// The object of each family; model_family.cpp lists them.
namespace evomoe {

std::unique_ptr<ModelFamily> make_language_model_family();
std::unique_ptr<ModelFamily> make_roberta_family();
std::unique_ptr<ModelFamily> make_encoder_decoder_family();

}  // namespace evomoe
