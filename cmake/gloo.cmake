# Whether processes of a run can talk to each other: LibTorch's Gloo (c10d). The wheel has the library and lacks five of
# Gloo's own headers, which Debian's libgloo-dev has (headers only: its library is never linked). As those are older than
# the library, a program of two processes is compiled and run. Sets EVOMOE_HAS_GLOO.
set(EVOMOE_GLOO "AUTO" CACHE STRING "Runs of several processes. AUTO: where Gloo's headers are found and work; ON: they must; OFF: none")
set_property(CACHE EVOMOE_GLOO PROPERTY STRINGS AUTO ON OFF)
set(EVOMOE_HAS_GLOO FALSE)
if(EVOMOE_GLOO STREQUAL "OFF")
  message(STATUS "Several processes: left out (EVOMOE_GLOO=OFF)")
  return()
elseif(NOT EVOMOE_GLOO MATCHES "^(AUTO|ON)$")
  message(FATAL_ERROR "EVOMOE_GLOO is '${EVOMOE_GLOO}'; it may be AUTO, ON or OFF.")
endif()
find_path(EVOMOE_GLOO_INCLUDE gloo/transport/device.h)
mark_as_advanced(EVOMOE_GLOO_INCLUDE)
set(missing "")
if(NOT EVOMOE_GLOO_INCLUDE)
  set(missing "Gloo's headers are not there (apt-get install libgloo-dev)")
elseif(NOT DEFINED CACHE{EVOMOE_GLOO_WORKS})
  try_run(run_code compiled SOURCES ${PROJECT_SOURCE_DIR}/cmake/check_gloo.cpp
          CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${EVOMOE_TORCH_INCLUDES};${EVOMOE_GLOO_INCLUDE}" "-DCMAKE_BUILD_RPATH=${EVOMOE_TORCH_FOLDER}/lib"
          COMPILE_DEFINITIONS -DUSE_C10D_GLOO
          LINK_LIBRARIES ${EVOMOE_TORCH_LIBRARIES}
          CXX_STANDARD 20
          COMPILE_OUTPUT_VARIABLE compile_output RUN_OUTPUT_VARIABLE run_output)
  set(works FALSE)
  if(compiled AND run_code EQUAL 0)
    set(works TRUE)
  endif()
  file(WRITE ${PROJECT_BINARY_DIR}/gloo_check.log "${compile_output}\n${run_output}\n")
  set(EVOMOE_GLOO_WORKS ${works} CACHE INTERNAL "check_gloo.cpp was compiled and ran")
endif()
if(EVOMOE_GLOO_INCLUDE AND NOT EVOMOE_GLOO_WORKS)
  set(missing "the test of two processes failed with the headers in ${EVOMOE_GLOO_INCLUDE} (${PROJECT_BINARY_DIR}/gloo_check.log says \
how; install libgloo-dev, or build with EVOMOE_GLOO=OFF)")
endif()
if(missing)
  if(EVOMOE_GLOO STREQUAL "ON")
    message(FATAL_ERROR "EVOMOE_GLOO=ON: ${missing}.")
  endif()
  message(STATUS "Several processes: not supported: ${missing}")
  return()
endif()
message(STATUS "Several processes: Gloo, with the headers in ${EVOMOE_GLOO_INCLUDE}")
set(EVOMOE_HAS_GLOO TRUE)
