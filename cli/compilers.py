"""The C++ compilers that can make machine code of a model. Without torch, so that `ml-service doctor` can ask too."""

import shutil

COMPILERS = ("g++", "clang++", "c++")


def found() -> str | None:
    """The path of the first one."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)
