"""What pyproject.toml cannot say: the matcher in C, where a compiler is, and the compiled rulebook in the wheel."""

import os
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.build_py import build_py


class BuildWithIndex(build_py):
    """Copies the package and compiles its rules where they were copied to."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            where = os.path.abspath(self.build_lib)
            code = "from outsourcing_classifier.index import Index; Index.open()"
            command = [sys.executable, "-B", "-c", code]
            subprocess.run(command, cwd=where, env={**os.environ, "PYTHONPATH": where}, check=True)


READING = Extension(
    "outsourcing_classifier._reading",
    ["outsourcing_classifier/_reading.c"],
    py_limited_api=True,
    optional=True,  # without a compiler the same matcher in Python reads
)

setup(
    cmdclass={"build_py": BuildWithIndex},
    ext_modules=[READING],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
