# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Components: the libraries of this tree that programs use, and how they are installed.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

option(BUSBAR_INSTALL "Install the library" ${PROJECT_IS_TOP_LEVEL})

set(busbar_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/busbar)
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})

# Only what is marked with BUSBAR_EXPORT can be linked from outside of a shared library.
set(busbar_linkage static)
set(busbar_export "")
if(BUILD_SHARED_LIBS)
  set(busbar_linkage shared)
  set(busbar_export " [[gnu::visibility(\"default\")]]")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/export.hpp.in ${PROJECT_BINARY_DIR}/include/bus/export.hpp @ONLY)

# Before 1.0 a minor version may break what was built with another.
set(busbar_soversion ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(busbar_soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()

# busbar_component(<name>
#   HEADERS <file or folder>...            what it installs, relative to include/bus
#   [REQUIRES <component>...]              the components it is built on, which come before it
#   [DEPENDENCIES "<package> ..."...]      arguments of find_package for what its users need
#   [PRIVATE_DEPENDENCIES "<package> ..."...]  and for what they need only if it is a static library
#   [PKGCONFIG <module>...]                the same for pkg-config, where it has a name there
#   [PRIVATE_PKGCONFIG <module>...]
#   [CFLAGS <flag>...])                    what else its users compile and link with
#
# Makes the target busbar_<name> the component busbar::<name>, here and where it is installed.
function(busbar_component name)
  cmake_parse_arguments(
    PARSE_ARGV 1 arg "" ""
    "HEADERS;REQUIRES;DEPENDENCIES;PRIVATE_DEPENDENCIES;PKGCONFIG;PRIVATE_PKGCONFIG;CFLAGS")
  set(target busbar_${name})
  get_property(earlier GLOBAL PROPERTY busbar_components)
  set(missing ${arg_REQUIRES})
  list(REMOVE_ITEM missing ${earlier})
  if(missing)
    message(FATAL_ERROR "The component ${name} is built on ${missing}, which must come before it")
  endif()
  set_property(GLOBAL APPEND PROPERTY busbar_components ${name})
  get_target_property(type ${target} TYPE)
  add_library(busbar::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  if(NOT type STREQUAL INTERFACE_LIBRARY)
    set_target_properties(
      ${target} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                           VERSION ${PROJECT_VERSION} SOVERSION ${busbar_soversion})
    if(PROJECT_IS_TOP_LEVEL)
      set_target_properties(${target} PROPERTIES INSTALL_RPATH $ORIGIN)
    endif()
  endif()
  if(NOT BUSBAR_INSTALL)
    return()
  endif()

  install(TARGETS ${target} EXPORT ${target} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT ${target} NAMESPACE busbar:: DESTINATION ${busbar_package_dir} FILE busbar-${name}.cmake)
  foreach(header IN LISTS arg_HEADERS)
    set(path ${PROJECT_SOURCE_DIR}/include/bus/${header})
    if(IS_DIRECTORY ${path})
      install(DIRECTORY ${path} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/bus FILES_MATCHING PATTERN *.hpp)
    else()
      cmake_path(GET header PARENT_PATH folder)
      install(FILES ${path} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/bus/${folder})
    endif()
  endforeach()

  # What a static library links privately, its users have to link.
  set(dependencies ${arg_DEPENDENCIES})
  set(requires_private "")
  if(type STREQUAL STATIC_LIBRARY)
    list(APPEND dependencies ${arg_PRIVATE_DEPENDENCIES})
    list(JOIN arg_PRIVATE_PKGCONFIG ", " requires_private)
  endif()
  list(TRANSFORM dependencies REPLACE "(.+)" "\"\\1\"")
  list(JOIN dependencies " " dependencies)
  list(JOIN arg_REQUIRES " " requires)
  set_property(
    GLOBAL APPEND_STRING PROPERTY busbar_component_needs
    "set(busbar_${name}_requires ${requires})\nset(busbar_${name}_dependencies ${dependencies})\n")

  set(component ${name})
  file(RELATIVE_PATH prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" prefix "\${pcfiledir}/${prefix}")
  set(requires ${arg_REQUIRES})
  list(TRANSFORM requires REPLACE "(.+)" "busbar-\\1 = ${PROJECT_VERSION}")
  list(APPEND requires ${arg_PKGCONFIG})
  list(JOIN requires ", " requires)
  list(JOIN arg_CFLAGS " " cflags)
  set(libs ${cflags})
  string(PREPEND cflags " ")
  if(NOT type STREQUAL INTERFACE_LIBRARY)
    string(PREPEND libs "-L\${libdir} -l${target} ")
  endif()
  string(STRIP "${libs}" libs)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/component.pc.in ${PROJECT_BINARY_DIR}/busbar-${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/busbar-${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

# After the last component: what they have in common.
function(busbar_install_package)
  if(NOT BUSBAR_INSTALL)
    return()
  endif()
  get_property(components GLOBAL PROPERTY busbar_components)
  list(JOIN components " " components)
  get_property(component_needs GLOBAL PROPERTY busbar_component_needs)
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/busbarConfig.cmake.in ${PROJECT_BINARY_DIR}/busbarConfig.cmake
    INSTALL_DESTINATION ${busbar_package_dir} NO_SET_AND_CHECK_MACRO)
  if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatible SameMinorVersion)
  else()
    set(compatible SameMajorVersion)
  endif()
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/busbarConfigVersion.cmake COMPATIBILITY ${compatible})
  install(
    FILES ${PROJECT_BINARY_DIR}/busbarConfig.cmake ${PROJECT_BINARY_DIR}/busbarConfigVersion.cmake
          ${PROJECT_SOURCE_DIR}/cmake/FindBusbarIsaL.cmake ${PROJECT_SOURCE_DIR}/cmake/FindBusbarLz4.cmake
    DESTINATION ${busbar_package_dir})
  install(FILES ${PROJECT_BINARY_DIR}/include/bus/export.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/bus)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE-MIT ${PROJECT_SOURCE_DIR}/LICENSE-APACHE
          DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/busbar)
endfunction()
