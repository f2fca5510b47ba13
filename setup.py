"""The build's one step of its own: the compiled rulebook goes into the wheel. See pyproject.toml."""

import os
import subprocess
import sys

from setuptools import setup
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


setup(cmdclass={"build_py": BuildWithIndex})
