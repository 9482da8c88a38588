// The formats that are computed in binary32.
#include "solve.h"

namespace polyref {

template void solve<c10::Half>(const Problem&);
template void solve<c10::BFloat16>(const Problem&);

} // namespace polyref
