#pragma once

#include <map>
#include <memory>
#include <typeindex>

namespace evomoe {

/// The option structs of the methods of a registry (routing, optimisers), one value of each type:
///
///   OptionSet options;
///   options.get<TopkOptions>().k = 4;
///
/// Which types there are is the methods' matter. A type is a struct with defaults and
/// `void describe(OptionTable&)`; one that is not there yet has its defaults. A value stays at its
/// address for the life of the set, also when another set is assigned, so that an option table may
/// fill it.
class OptionSet {
 public:
  OptionSet() = default;
  OptionSet(const OptionSet& other) { *this = other; }
  OptionSet& operator=(const OptionSet& other) {
    if (this == &other) return *this;
    for (auto& [type, value] : values_) {
      if (!other.values_.contains(type)) value->reset();
    }
    for (const auto& [type, value] : other.values_) {
      auto& ours = values_[type];
      if (ours) {
        ours->assign(*value);
      } else {
        ours = value->clone();
      }
    }
    return *this;
  }

  template <typename Options>
  Options& get() {
    auto& value = values_[typeid(Options)];
    if (!value) value = std::make_unique<Value<Options>>();
    return static_cast<Value<Options>&>(*value).options;
  }
  template <typename Options>
  const Options& get() const {
    static const Options defaults{};
    const auto found = values_.find(typeid(Options));
    return found == values_.end() ? defaults : static_cast<Value<Options>&>(*found->second).options;
  }

 private:
  struct AnyValue {
    virtual ~AnyValue() = default;
    virtual std::unique_ptr<AnyValue> clone() const = 0;
    virtual void assign(const AnyValue& other) = 0;
    virtual void reset() = 0;
  };
  template <typename Options>
  struct Value final : AnyValue {
    std::unique_ptr<AnyValue> clone() const override {
      auto copy = std::make_unique<Value>();
      copy->options = options;
      return copy;
    }
    void assign(const AnyValue& other) override {
      options = static_cast<const Value&>(other).options;
    }
    void reset() override { options = Options(); }
    Options options;
  };

  std::map<std::type_index, std::unique_ptr<AnyValue>> values_;
};

}  // namespace evomoe
