"""Engines at work: run on files, timed, looked into, packed for where they go."""
