// Two processes add up a tensor by LibTorch's Gloo. Exit code 0: the headers that were found fit the library.
#include <sys/wait.h>
#include <unistd.h>

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int run(int rank, const std::string& path) {
  const auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::seconds(20));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  c10d::ProcessGroupGloo group(c10::make_intrusive<c10d::FileStore>(path, 2), rank, 2, options);
  std::vector<at::Tensor> tensors = {at::full({3}, rank + 1.0)};
  group.allreduce(tensors)->wait();
  return tensors[0].sum().item<double>() == 9.0 ? 0 : 1;
}

int main() {
  std::string folder = "/tmp/evomoe-gloo-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const auto path = folder + "/store";
  const pid_t child = fork();
  if (child < 0) return 1;
  int code = 1;
  try {
    code = run(child == 0 ? 0 : 1, path);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  if (child == 0) _exit(code);
  int status = 1;
  waitpid(child, &status, 0);
  std::remove(path.c_str());
  rmdir(folder.c_str());
  return code == 0 && status == 0 ? 0 : 1;
}
