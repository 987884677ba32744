# Read by CTest before it runs (rooms.cmake sets PROGRAM, ROOM and LABEL): each suite of a test program is one test,
# <room>.<suite>. One for each case would load LibTorch a thousand times. The cases of a suite run one after the other in
# one process; the last line "[ RUN ]" of its output names the one that crashed.
if(NOT EXISTS "${PROGRAM}")
  add_test(${ROOM}.${LABEL}_NOT_BUILT "${PROGRAM}")
  return()
endif()
execute_process(COMMAND "${PROGRAM}" --gtest_list_tests OUTPUT_VARIABLE output RESULT_VARIABLE result TIMEOUT 60)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} --gtest_list_tests failed (${result}): ${output}")
endif()
string(REGEX REPLACE "[[;]|]" "_" output "${output}")  # lists of CMake; comments on parameters hold them
string(REPLACE "\n" ";" lines "${output}")
set(suites)
foreach(line ${lines})
  if(line MATCHES "^([^ ]+)\\.( *#.*)?$")
    set(suite "${CMAKE_MATCH_1}")
    list(APPEND suites "${suite}")
    set(cases_${suite} 0)
  elseif(line MATCHES "^  [^ ]")
    math(EXPR cases_${suite} "${cases_${suite}} + 1")
  endif()
endforeach()
foreach(suite ${suites})
  set(test "${ROOM}.${suite}")
  add_test("${test}" "${PROGRAM}" "--gtest_filter=${suite}.*")
  set_tests_properties("${test}" PROPERTIES
    LABELS ${LABEL} TIMEOUT 1200 SKIP_RETURN_CODE 77
    COST ${cases_${suite}}  # long suites first, so that none is left alone at the end
    # Several tests run at once; threads of a parallel region that wait for each other would make them crawl.
    ENVIRONMENT OMP_NUM_THREADS=1)
endforeach()
