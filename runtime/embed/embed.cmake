# Writes OUT, a C++ file with each Lua file below SOURCE and with PRELUDE, byte for byte.
# cmake -DSOURCE=stdlib -DPRELUDE=runtime/lua/prelude.lua -DOUT=stdlib.cc -P embed.cmake
cmake_minimum_required(VERSION 3.25)

# A file as a string literal of nothing but escapes: no byte of it can be taken for C++.
function(as_literal path out)
  file(READ "${path}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" hex "${hex}")
  set(${out} "${hex}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE files RELATIVE "${SOURCE}" "${SOURCE}/*.lua")
list(SORT files)  # bytewise, as std::string_view compares

set(arrays "")
set(table "")
set(number 0)
foreach(path IN LISTS files)
  as_literal("${SOURCE}/${path}" bytes)
  string(APPEND arrays "const char kFile${number}[] = \"${bytes}\";\n")
  string(APPEND table "    {\"${path}\", {kFile${number}, sizeof kFile${number} - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()
as_literal("${PRELUDE}" prelude)

file(WRITE "${OUT}.new" "// Generated from the Lua files by runtime/embed/embed.cmake.
#include \"embed/files.h\"

namespace choline {

namespace {
${arrays}}  // namespace

extern const EmbeddedFile kEmbeddedFiles[] = {
${table}};
extern const size_t kEmbeddedCount = ${number};

extern const char kPrelude[] = \"${prelude}\";
extern const size_t kPreludeSize = sizeof kPrelude - 1;

}  // namespace choline
")
file(COPY_FILE "${OUT}.new" "${OUT}" ONLY_IF_DIFFERENT)
file(REMOVE "${OUT}.new")
