// What the sanitizers of the presets asan, tsan and fuzz are told, in every program of the build.
#define EVOMOE_SANITIZER_TEXT(name) \
  extern "C" __attribute__((visibility("default"))) const char* name()

EVOMOE_SANITIZER_TEXT(__ubsan_default_options) { return "print_stacktrace=1"; }

EVOMOE_SANITIZER_TEXT(__asan_default_options) {
  // Tests measure what the process holds: what is freed may not be kept to watch over it, but for a
  // little.
  return "quarantine_size_mb=8";
}

EVOMOE_SANITIZER_TEXT(__lsan_default_suppressions) {
  // LibTorch's reader of zip files keeps some hundred bytes of a file that it refuses.
  return "leak:PyTorchStreamReader\n"
         "leak:mz_zip_reader_init\n";
}

EVOMOE_SANITIZER_TEXT(__tsan_default_suppressions) {
  // LibTorch and the OpenMP runtime are not instrumented: what orders their threads is not seen, so
  // that all that they copy and free looks like a race.
  return "called_from_lib:libtorch_cpu.so\n"
         "called_from_lib:libc10.so\n"
         "called_from_lib:libgomp\n";
}
