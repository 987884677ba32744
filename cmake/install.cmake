# `cmake --install`: the program, its manual pages and completions, licence and documents, and the library (package.cmake).
# The program finds LibTorch where it was when it was built.
include(GNUInstallDirs)
include(${PROJECT_SOURCE_DIR}/cmake/package.cmake)

# Manual pages and completions are made by the program, from its option table.
set(share ${PROJECT_BINARY_DIR}/share)
add_custom_command(
  OUTPUT ${share}/made
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${share}
  COMMAND evomoe options --destdir ${share}
  COMMAND ${CMAKE_COMMAND} -E touch ${share}/made
  DEPENDS evomoe
  VERBATIM)
add_custom_target(evomoe_manual ALL DEPENDS ${share}/made)

install(TARGETS evomoe)
install(DIRECTORY ${share}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY ${share}/bash-completion ${share}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR})
install(FILES README.md CHANGELOG.md LICENSE CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
