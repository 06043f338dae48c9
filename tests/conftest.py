"""Keeps the libraries quiet and single-threaded in every test."""

import os

from tasks.environment import QUIET

os.environ.update(QUIET)
# Tiny models gain nothing from threads, and several test processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"
