# cmake -DOUTPUT=FILE -P commit.cmake, in the source folder: defines DYADIC_COMMIT in a header, written only when it changes.
execute_process(COMMAND git describe --always --dirty --exclude "*" OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define DYADIC_COMMIT \"${commit}\"\n")
