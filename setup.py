"""What pyproject.toml cannot say: what is in C, where a compiler is, and the compiled rulebook in the wheel."""

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


PARTS = [f"outsourcing_classifier/_{part}.c" for part in ("native", "reading", "model", "judging")]
NATIVE = Extension(
    "outsourcing_classifier._native",
    PARTS,
    depends=["outsourcing_classifier/_native.h"],
    # each product rounded before it is added, as in Python; two compilers round alike only so
    extra_compile_args=[] if os.name == "nt" else ["-ffp-contract=off"],
    py_limited_api=True,
    optional=True,  # without a compiler the same classifier in Python answers
)

setup(
    cmdclass={"build_py": BuildWithIndex},
    ext_modules=[NATIVE],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
