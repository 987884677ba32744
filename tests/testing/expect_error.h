#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "evomoe/base/error.h"

namespace evomoe {

/// Expects `action` to throw an Error whose message holds all of `parts`.
template <typename Action>
void expect_error(const Action& action, std::initializer_list<std::string> parts) {
  try {
    action();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const auto& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "`" << part << "` is not in: " << message;
    }
  }
}

}  // namespace evomoe
