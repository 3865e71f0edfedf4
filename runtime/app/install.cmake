# What lies where once choline is installed, and the Debian package. Included by the top CMakeLists
# after all targets are known. The completion and the manual page are what the built program prints.

include(GNUInstallDirs)

# Messages and asserts name files from the project's folder on, wherever it was built.
target_compile_options(choline_options INTERFACE -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)

set(share ${CMAKE_BINARY_DIR}/share)
set(printed)
# Runs `choline WORDS...` once it is built and keeps what it prints as share/<file>.
function(choline_prints file)
  add_custom_command(
    OUTPUT ${share}/${file}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${share}
    COMMAND sh -c "\"$<TARGET_FILE:choline>\" \"$@\" > \"${share}/${file}.part\"" choline ${ARGN}
    COMMAND ${CMAKE_COMMAND} -E rename ${share}/${file}.part ${share}/${file}
    DEPENDS choline
    VERBATIM)
  set(printed ${printed} ${share}/${file} PARENT_SCOPE)
endfunction()

choline_prints(choline.bash completion bash)
choline_prints(_choline completion zsh)
choline_prints(choline.fish completion fish)
choline_prints(choline.1 man)
find_program(GZIP gzip REQUIRED)
add_custom_command(
  OUTPUT ${share}/choline.1.gz
  COMMAND sh -c "\"${GZIP}\" -9nc \"${share}/choline.1\" > \"${share}/choline.1.gz\""
  DEPENDS ${share}/choline.1
  VERBATIM)
add_custom_target(choline_share ALL DEPENDS ${printed} ${share}/choline.1.gz)

install(TARGETS choline RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS choline_agent RUNTIME DESTINATION libexec/choline)
if(TARGET choline_agent_aarch64)
  install(PROGRAMS ${CMAKE_BINARY_DIR}/choline-agent-aarch64 DESTINATION libexec/choline)
endif()
install(FILES ${share}/choline.bash RENAME choline
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${share}/_choline DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${share}/choline.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${share}/choline.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/stdlib/meta/ DESTINATION ${CMAKE_INSTALL_DATADIR}/choline/meta
        FILES_MATCHING PATTERN "*.lua" PATTERN "native.lua" EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/guide ${CMAKE_SOURCE_DIR}/docs/reference
        DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
        PATTERN "checkpoints" EXCLUDE PATTERN "results" EXCLUDE PATTERN "__pycache__" EXCLUDE
        PATTERN ".gitignore" EXCLUDE)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME choline)
set(CPACK_PACKAGE_VENDOR "the choline authors")
set(CPACK_PACKAGE_CONTACT "the choline authors <choline@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "language for training models on rented GPUs")
set(CPACK_PACKAGE_DESCRIPTION
    "A cholfile says what training needs, which files go where, and what to do when something goes
wrong; choline does it, through crashes and lost instances, and rents nothing twice.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "tzdata")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "bash-completion, openssh-client")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${CPACK_PACKAGE_CONTACT}")
include(CPack)
