// The formats that are computed in themselves.
#include "solve.h"

namespace polyref {

template void solve<float>(const Problem&);
template void solve<double>(const Problem&);

} // namespace polyref
