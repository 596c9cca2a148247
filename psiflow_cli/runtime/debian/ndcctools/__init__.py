"""Stands in for the package `ndcctools` where only Debian's Work Queue is installed; see `work_queue`."""
