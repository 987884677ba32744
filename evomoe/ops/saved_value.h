#pragma once

#include <torch/torch.h>

#include <utility>

/// Keeps plain C++ values from the forward to the backward pass of an autograd Function.
namespace evomoe {

template <typename T>
struct SavedValue : torch::CustomClassHolder {
  explicit SavedValue(T v) : value(std::move(v)) {}
  T value;
};

template <typename T>
void save_value(torch::autograd::AutogradContext* context, const char* name, T value) {
  context->saved_data[name] =
      torch::IValue::make_capsule(c10::make_intrusive<SavedValue<T>>(std::move(value)));
}

template <typename T>
T saved_value(torch::autograd::AutogradContext* context, const char* name) {
  const auto capsule = context->saved_data.at(name).toCapsule();
  return static_cast<SavedValue<T>*>(capsule.get())->value;
}

}  // namespace evomoe
