# Part of the installed package: which LibTorch a project uses with evomoe.

# evomoe_find_libtorch(<version> <folder> <error>): the target evomoe::libtorch. LibTorch must be of that version (2.13),
# the one that evomoe was built with in that folder. <error>: why there is none, or nothing. LibTorch's own CMake package is
# looked for, but not loaded: that of a CUDA build asks for a CUDA compiler, which is not needed here.
function(evomoe_find_libtorch version built_with error)
  set(${error} "" PARENT_SCOPE)
  set(EVOMOE_TORCH "" CACHE PATH "The LibTorch to use with evomoe; empty: the project's own, or the one it was built with")
  set(torch "${EVOMOE_TORCH}")
  if(NOT torch AND DEFINED ENV{EVOMOE_TORCH})
    set(torch "$ENV{EVOMOE_TORCH}")
  endif()
  if(torch)
    cmake_path(ABSOLUTE_PATH torch BASE_DIRECTORY "${CMAKE_BINARY_DIR}" NORMALIZE)
  endif()
  if(TORCH_INSTALL_PREFIX)  # find_package(Torch) was here before
    cmake_path(ABSOLUTE_PATH TORCH_INSTALL_PREFIX NORMALIZE OUTPUT_VARIABLE found)
    if(torch AND NOT torch STREQUAL found)
      set(${error} "find_package(Torch) has found ${found}, but EVOMOE_TORCH is ${torch}. A program can have one LibTorch: leave \
EVOMOE_TORCH out, or give both the same folder." PARENT_SCOPE)
      return()
    endif()
    set(torch "${found}")
  endif()
  if(NOT torch)
    find_file(EVOMOE_TORCH_CONFIG TorchConfig.cmake HINTS "${Torch_DIR}" "$ENV{Torch_DIR}" PATH_SUFFIXES share/cmake/Torch
              NO_CACHE)
    if(EVOMOE_TORCH_CONFIG)
      cmake_path(SET torch NORMALIZE "${EVOMOE_TORCH_CONFIG}/../../../..")
      string(REGEX REPLACE "/$" "" torch "${torch}")
    else()
      set(torch "${built_with}")
    endif()
  endif()

  set(remedy "Set EVOMOE_TORCH to the folder of LibTorch ${version}: an unpacked libtorch, or site-packages/torch of a Python \
with torch ${version}; or build evomoe with the other one.")
  set(header "${torch}/include/torch/headeronly/version.h")
  if(NOT EXISTS "${torch}/lib/libtorch_cpu.so" OR NOT EXISTS "${header}")
    set(${error} "There is no LibTorch ${version} at ${torch}. ${remedy}" PARENT_SCOPE)
    return()
  endif()
  file(READ "${header}" text)
  string(REGEX MATCH "define TORCH_VERSION_MAJOR ([0-9]+)" _ "${text}")
  set(found ${CMAKE_MATCH_1})
  string(REGEX MATCH "define TORCH_VERSION_MINOR ([0-9]+)" _ "${text}")
  set(found ${found}.${CMAKE_MATCH_1})
  if(NOT found VERSION_EQUAL version)
    set(${error} "evomoe was built with LibTorch ${version}, but ${torch} is LibTorch ${found}. ${remedy}" PARENT_SCOPE)
    return()
  endif()

  # LibTorch brings headers of another fmt along; the one that evomoe was built with must be found first.
  find_path(EVOMOE_FMT_INCLUDE fmt/core.h REQUIRED)
  mark_as_advanced(EVOMOE_FMT_INCLUDE)
  set(first ${CMAKE_BINARY_DIR}/evomoe-include)
  file(MAKE_DIRECTORY ${first})
  file(CREATE_LINK ${EVOMOE_FMT_INCLUDE}/fmt ${first}/fmt SYMBOLIC)
  add_library(evomoe::libtorch INTERFACE IMPORTED)
  target_include_directories(evomoe::libtorch INTERFACE ${first} ${torch}/include ${torch}/include/torch/csrc/api/include)
  target_link_libraries(evomoe::libtorch INTERFACE ${torch}/lib/libtorch.so ${torch}/lib/libtorch_cpu.so ${torch}/lib/libc10.so)
  if(EXISTS "${torch}/lib/libtorch_cuda.so")
    # Nothing refers to this library by name: it registers the CUDA kernels when it is loaded.
    target_link_libraries(evomoe::libtorch INTERFACE -Wl,--no-as-needed ${torch}/lib/libtorch_cuda.so ${torch}/lib/libc10_cuda.so
                          -Wl,--as-needed)
  endif()
  if(NOT evomoe_FIND_QUIETLY)
    message(STATUS "evomoe: LibTorch ${found} at ${torch}")
  endif()
endfunction()
