#include <torch/extension.h>

#include <string>

#include "bindings.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "json.h"

namespace evomoe::python {
namespace {

py::dict by_name(const TensorMap& tensors) {
  py::dict dict;
  for (const auto& [name, tensor] : tensors) dict[py::str(name)] = tensor;
  return dict;
}

/// The sections of the manifest, the model's tensors and those of the optimiser.
py::tuple load(const std::string& path, bool with_optimizer) {
  Checkpoint checkpoint;
  {
    const py::gil_scoped_release release;
    checkpoint = load_checkpoint(path, with_optimizer);
  }
  return py::make_tuple(to_python(to_sections(checkpoint.state)), by_name(checkpoint.model),
                        by_name(checkpoint.optimizer));
}

}  // namespace

void bind_checkpoints(py::module_& module) {
  module.def("load_checkpoint", &load, py::arg("path"), py::arg("with_optimizer"));
}

}  // namespace evomoe::python
