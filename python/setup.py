"""Builds the extension evomoe._C with CMake for the torch of the Python that runs this:

    pip install --no-build-isolation ./python

EVOMOE_PREFIX names a folder into which evomoe is installed; without it the library is compiled from the clone, which
takes some minutes. CXX chooses the compiler, CMAKE_BUILD_PARALLEL_LEVEL the number of processes.
"""
import os
import pathlib
import shutil
import subprocess
import sys

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = pathlib.Path(__file__).resolve().parent


def require_wheels():
    """Older setuptools make wheels with the package wheel alone."""
    if "bdist_wheel" in sys.argv and tuple(map(int, setuptools.__version__.split(".")[:2])) < (70, 1):
        try:
            import wheel  # noqa: F401
        except ImportError:
            sys.exit(f"evomoe needs setuptools 70.1 or later to be built, and this Python has {setuptools.__version__}: "
                     "pip install --upgrade setuptools")


def running_torch():
    """The folder of torch and its version, 2.13."""
    try:
        import torch
    except ImportError:
        sys.exit("evomoe is built for the torch of this Python, which has none. Install torch, then run "
                 "pip install --no-build-isolation ./python")
    return pathlib.Path(torch.__file__).parent, ".".join(torch.__version__.split(".")[:2])


class CMakeBuild(build_ext):
    def build_extension(self, extension):
        if not (HERE.parent / "CMakeLists.txt").exists() and not os.environ.get("EVOMOE_PREFIX"):
            sys.exit("evomoe's library is not beside this folder: install from a clone of the repository, or set "
                     "EVOMOE_PREFIX to where evomoe is installed.")
        torch_folder, version = running_torch()
        package = pathlib.Path(self.get_ext_fullpath(extension.name)).resolve().parent
        build = pathlib.Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        arguments = [
            f"-DEVOMOE_TORCH={torch_folder}",
            f"-DEVOMOE_PREFIX={os.environ.get('EVOMOE_PREFIX', '')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
        ]
        if shutil.which("ninja"):
            arguments.append("-GNinja")
        if not os.environ.get("CXX") and shutil.which("clang++"):
            # With a precompiled header it takes a fifth of the time.
            arguments.append("-DCMAKE_CXX_COMPILER=clang++")
        environment = {**os.environ, "EVOMOE_TORCH": str(torch_folder)}
        subprocess.run(["cmake", "-S", HERE, "-B", build, *arguments], check=True, env=environment)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        subprocess.run(["cmake", "--build", build, "--target", "_C", "--parallel", jobs], check=True, env=environment)
        package.mkdir(parents=True, exist_ok=True)
        for built in build.glob("_C*.so"):
            shutil.copy2(built, package)
        (package / "_build.py").write_text(f'"""Written by setup.py."""\n\nTORCH_VERSION = "{version}"\n')


require_wheels()
setup(ext_modules=[Extension("evomoe._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
