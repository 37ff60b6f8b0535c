"""eagbench: does a language model read health records better, more robustly, or in another hospital?"""

import os

__version__ = "0.1.0"

# Before any library loads libgomp, which reads it once; processes that are started inherit it. By default a thread that
# waits for the others spins, and two processes on two cores keep each other from working. It changes no result.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
