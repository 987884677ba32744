#include <torch/extension.h>

#include "bindings.h"
#include "evomoe/base/error.h"

PYBIND11_MODULE(_C, module) {
  using namespace evomoe;
  module.doc() = "The C++ side of evomoe; torch.ops.evomoe is registered when it is loaded.";
  pybind11::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const UsageError& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const Error& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
    }
  });
  python::bind_routers(module);
  python::bind_checkpoints(module);
}
