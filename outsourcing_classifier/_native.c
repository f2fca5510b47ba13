/* The module that Python sees. */

#include "_native.h"

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_native", "Reading, weighing and judging in C.", -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *out = PyModule_Create(&module);
    if (out && (add_reading(out) < 0 || add_model(out) < 0 || add_judging(out) < 0)) Py_CLEAR(out);
    return out;
}
