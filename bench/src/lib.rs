//! What the benchmarks share. Nothing here is part of the product, and no test depends on a figure made here.
