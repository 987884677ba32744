# What the page of `evomoe report` needs and the system has: dygraphs (Debian's libjs-dygraphs), whose script the program
# holds, and cpp-httplib (libcpp-httplib-dev) to serve the page while a run goes on (--live). Included after the room
# page. Where one is missing the program is built without it, and says so when it is asked for a page.
find_file(EVOMOE_DYGRAPHS dygraph.min.js PATHS /usr/share/javascript/dygraphs /usr/share/nodejs/dygraphs/dist
          NO_DEFAULT_PATH DOC "dygraph.min.js, which draws the curves of a report's page")
mark_as_advanced(EVOMOE_DYGRAPHS)
set(dygraphs ${PROJECT_BINARY_DIR}/dygraph.min.js)
set(script "")
if(EVOMOE_DYGRAPHS)
  file(READ "${EVOMOE_DYGRAPHS}" script)
  string(REGEX REPLACE "\n//# sourceMappingURL=[^\n]*" "" script "${script}")  # a page of one file has no other files
  message(STATUS "Pages of reports: dygraphs, ${EVOMOE_DYGRAPHS}")
else()
  message(STATUS "Pages of reports: not supported: dygraphs is not there (apt-get install libjs-dygraphs)")
endif()
file(CONFIGURE OUTPUT ${dygraphs} CONTENT "@script@" @ONLY)
evomoe_embed(page ${dygraphs})

pkg_check_modules(HTTPLIB QUIET IMPORTED_TARGET cpp-httplib)
if(HTTPLIB_FOUND)
  message(STATUS "Live pages: cpp-httplib ${HTTPLIB_VERSION}")
  set_source_files_properties(evomoe/page/live_server.cpp PROPERTIES COMPILE_DEFINITIONS EVOMOE_HAS_HTTPLIB
                              SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(evomoe_page PRIVATE PkgConfig::HTTPLIB)
else()
  message(STATUS "Live pages: not supported: cpp-httplib is not there (apt-get install libcpp-httplib-dev)")
endif()
