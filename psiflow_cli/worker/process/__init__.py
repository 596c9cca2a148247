"""Processes on a worker: calling back ends, starting programs, limits, files written atomically. No science."""
