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

/// Expects `action` to throw an Error whose message has `part` exactly once: what is said by the
/// one who finds a fault is not said again by those who pass it on.
template <typename Action>
void expect_named_once(const Action& action, const std::string& part) {
  try {
    action();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    const std::string message = error.what();
    const auto first = message.find(part);
    ASSERT_NE(first, std::string::npos) << "`" << part << "` is not in: " << message;
    EXPECT_EQ(message.find(part, first + 1), std::string::npos)
        << "`" << part << "` is several times in: " << message;
  }
}

}  // namespace evomoe
