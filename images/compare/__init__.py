"""Arms searched equally and compared on fresh seeds, on images small enough for a CPU."""
