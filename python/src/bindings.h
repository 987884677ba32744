#pragma once

#include <pybind11/pybind11.h>

namespace evomoe::python {

namespace py = pybind11;

void bind_routers(py::module_& module);
void bind_checkpoints(py::module_& module);

}  // namespace evomoe::python
