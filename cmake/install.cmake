# cmake --install build/release --prefix P: bin/dyadic, lib/lib{dyadic_runtime,dyadic}.a, include/dyadic, lib/cmake/dyadic,
# share/dyadic/recipes, completion of three shells and the manual page.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dyadic)

set_target_properties(dyadic_runtime_lib PROPERTIES EXPORT_NAME runtime)
set_target_properties(dyadic_lib PROPERTIES EXPORT_NAME dyadic)
install(TARGETS dyadic RUNTIME)
install(TARGETS dyadic_runtime_lib EXPORT dyadicRuntimeTargets ARCHIVE)
install(TARGETS dyadic_lib EXPORT dyadicTargets ARCHIVE)
# Two sets, so that who links the runtime alone needs none of the other's packages.
install(EXPORT dyadicRuntimeTargets NAMESPACE dyadic:: DESTINATION ${package_dir})
install(EXPORT dyadicTargets NAMESPACE dyadic:: DESTINATION ${package_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dyadic TYPE INCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/dyadic FILES_MATCHING PATTERN *.toml)

set(RECIPES_DIR ${CMAKE_INSTALL_DATADIR}/dyadic/recipes)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dyadicConfig.cmake.in ${CMAKE_BINARY_DIR}/dyadicConfig.cmake
  INSTALL_DESTINATION ${package_dir} PATH_VARS RECIPES_DIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/dyadicConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/dyadicConfig.cmake ${CMAKE_BINARY_DIR}/dyadicConfigVersion.cmake DESTINATION ${package_dir})

# The program prints its own completion and manual page.
if(NOT CMAKE_CROSSCOMPILING)
  foreach(page "completion bash=bash-completion/completions/dyadic" "completion zsh=zsh/site-functions/_dyadic"
          "completion fish=fish/vendor_completions.d/dyadic.fish" "man=man/man1/dyadic.1")
    string(REGEX REPLACE "=.*" "" arguments ${page})
    string(REGEX REPLACE ".*=" "${CMAKE_INSTALL_DATADIR}/" file ${page})
    install(CODE "
      set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${file}\")
      message(STATUS \"Installing: \${file}\")
      get_filename_component(dir \${file} DIRECTORY)
      file(MAKE_DIRECTORY \${dir})
      string(REPLACE \" \" \";\" arguments \"${arguments}\")
      execute_process(COMMAND \"$<TARGET_FILE:dyadic>\" \${arguments} OUTPUT_FILE \${file} COMMAND_ERROR_IS_FATAL ANY)")
  endforeach()
endif()
