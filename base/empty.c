/* Keeps a layer that has no sources yet a library. */
extern const int base_empty;
const int base_empty = 0;
