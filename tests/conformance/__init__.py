# SPDX-License-Identifier: MIT
"""Scenarios that were recorded on a real Linux 6.1 with several nodes, run on a mounted model and compared.

`python3 -m tests.conformance` prints the score of each group. `scenarios/` are plain sh,
`recordings/` what the real kernel answered (some twice: where two recordings differ, a command
tells nothing), `cpuset/` system calls on cpuset files, call by call.
"""
