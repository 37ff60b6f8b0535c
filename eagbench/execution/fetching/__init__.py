"""Brings published files onto this machine: transfers that go on after an interruption, checksums, progress.

pooch, the usual library for this, checks hashes and retries, but begins every file anew after an interruption; nothing
well kept was found that goes on. The transport is httpx2's.
"""
