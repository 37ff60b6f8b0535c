"""eagbench: does a language model read health records better, more robustly, or in another hospital?"""

__version__ = "0.1.0"
