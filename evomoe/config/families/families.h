#pragma once

#include "evomoe/config/architectures.h"

/// The declaration of each family; architectures.cpp lists them.
namespace evomoe {

FamilyDeclaration language_model_family();
FamilyDeclaration roberta_family();
FamilyDeclaration encoder_decoder_family();

}  // namespace evomoe
