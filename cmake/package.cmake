# The library as a CMake package: headers and static libraries of the public rooms, and what find_package(evomoe) reads
# (evomoe-config.cmake.in, docs/library.md). `cmake --install BUILD --component library` installs it alone.
include(CMakePackageConfigHelpers)

if(EVOMOE_SANITIZE OR EVOMOE_COVERAGE)
  message(STATUS "Library for other projects: not installed from an instrumented build")
  return()
endif()

# A layer, the models made of it, and what trains and stores them. Of the kernels those headers that these include.
set(rooms base runtime kernels config text parallel ops routing optim checkpoint moe models)
set(kernel_headers parallel_for.h cpu/activation.h cuda/bfloat16.h)
# Headers that only the sources of their own room include; not installed.
set(internal_headers expert_mlp_cuda.h expert_mlp_of_plan.h expert_mlp_plan.h)
# Beside the rooms: what a program chooses.
set(choices command_line mkl_dispatch)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/evomoe)
set(targets evomoe_torch)
foreach(name ${rooms} ${choices})
  list(APPEND targets evomoe_${name})
endforeach()
install(TARGETS ${targets} EXPORT evomoe-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT evomoe-targets NAMESPACE evomoe:: DESTINATION ${package_folder} COMPONENT library)

foreach(header ${internal_headers})
  list(APPEND without PATTERN ${header} EXCLUDE)
endforeach()
foreach(room ${rooms})
  if(NOT room STREQUAL "kernels")
    install(DIRECTORY evomoe/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/evomoe COMPONENT library
            FILES_MATCHING PATTERN "*.h" ${without})
  endif()
endforeach()
foreach(header ${kernel_headers})
  cmake_path(GET header PARENT_PATH folder)
  install(FILES evomoe/kernels/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/evomoe/kernels/${folder}
          COMPONENT library)
endforeach()

set(EVOMOE_COMPONENTS ${rooms} ${choices})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/evomoe-config.cmake.in
                              ${PROJECT_BINARY_DIR}/package/evomoe-config.cmake INSTALL_DESTINATION ${package_folder})
# Before 1.0 each minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/evomoe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/evomoe-config.cmake ${PROJECT_BINARY_DIR}/package/evomoe-config-version.cmake
              ${PROJECT_SOURCE_DIR}/cmake/evomoe-libtorch.cmake
        DESTINATION ${package_folder} COMPONENT library)
