/* Version.h - the version, by the names of the specification. The macros are ghostmem.h's. */
#ifndef GHOSTMEM_VERSION_H
#define GHOSTMEM_VERSION_H

#include <ghostmem.h>

#define GHOSTMEM_VERSION GHOSTMEM_VERSION_NUMBER

/* Of the library that runs. */
namespace GhostMem {

inline int GetVersionMajor() { return ghostmem_version_major(); }
inline int GetVersionMinor() { return ghostmem_version_minor(); }
inline int GetVersionPatch() { return ghostmem_version_patch(); }
inline const char *GetVersionString() { return ghostmem_version(); }
inline int GetVersion() { return ghostmem_version_number(); }
inline int GetVersionNumber() { return ghostmem_version_number(); }

} // namespace GhostMem

#endif
