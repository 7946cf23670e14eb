"""Engines packed for where they run: a folder for Python or C++, a model repository for Triton, a wheel, a container.

Each form is a module here with `write(parts, folder)`. What goes into a package as it stands lies in `files/`.
"""
