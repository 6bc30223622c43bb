# embed_bytes(name file out): in `out` the text of a C array text_<name> that holds the file and a NUL.
function(embed_bytes name file out)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n    " bytes "${bytes}")
  set(${out} "static const unsigned char text_${name}[] = {\n    ${bytes}0x00};\n\n" PARENT_SCOPE)
endfunction()
