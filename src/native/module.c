/* The module, and where the slots of the Python classes lie. */

#include "shared.h"

static State *
state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* Return where the objects of a class keep what is in one of its slots; -1 with an error if it has no such slot. */
static Py_ssize_t
offset_of(PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL) {
        return -1;
    }
    PyMemberDef *member = NULL;
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        member = ((PyMemberDescrObject *)descriptor)->d_member;
    }
    Py_ssize_t offset = member != NULL && member->type == T_OBJECT_EX ? member->offset : -1;
    if (offset < 0) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    }
    Py_DECREF(descriptor);
    return offset;
}

PyDoc_STRVAR(learn_doc,
"learn(cells, counter, distribution, gauge)\n--\n\n"
"Learn where these classes keep their numbers; *cells* is the namespace of the module of cells.");

static PyObject *
learn(PyObject *module, PyObject *arguments)
{
    State *state = state_of(module);
    PyObject *cells, *counter, *distribution, *gauge;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!", &PyDict_Type, &cells, &PyType_Type, &counter, &PyType_Type,
                          &distribution, &PyType_Type, &gauge)) {
        return NULL;
    }
    Slots found = state->slots;
    Py_ssize_t owner = offset_of(distribution, "_owner");
    if (owner < 0 || (found.owner = offset_of(counter, "_owner")) < 0
        || (found.count = offset_of(counter, "_number")) < 0
        || (found.cells = offset_of(distribution, "_cells")) < 0
        || (found.value = offset_of(gauge, "_number")) < 0) {
        return NULL;
    }
    if (owner != found.owner) {
        PyErr_SetString(PyExc_TypeError, "counters and distributions must keep their owner in the same slot");
        return NULL;
    }
    state->slots = found;
    Py_XSETREF(state->cells, Py_NewRef(cells));
    Py_XSETREF(state->slots.counter, (PyTypeObject *)Py_NewRef(counter));
    Py_XSETREF(state->slots.distribution, (PyTypeObject *)Py_NewRef(distribution));
    Py_XSETREF(state->slots.gauge, (PyTypeObject *)Py_NewRef(gauge));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(exchange_type_doc,
"exchange_type(base, recording)\n--\n\n"
"Make the class of exchanges: it has the rare methods of *base*; *recording* is the class of what recorders find.");

static PyObject *
exchange_type(PyObject *module, PyObject *arguments)
{
    State *state = state_of(module);
    PyObject *base, *recording;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyType_Type, &base, &PyType_Type, &recording)) {
        return NULL;
    }
    Slots found = state->slots;
    if ((found.add_usual = offset_of(recording, "add_usual")) < 0
        || (found.router = offset_of(recording, "router")) < 0
        || (found.method = offset_of(recording, "method")) < 0
        || (found.outcome = offset_of(recording, "outcome")) < 0) {
        return NULL;
    }
    PyObject *bases = PyTuple_Pack(1, base);
    PyObject *type = bases == NULL ? NULL : PyType_FromModuleAndSpec(module, &exchange_spec, bases);
    Py_XDECREF(bases);
    if (type != NULL) {
        state->slots = found;
        Py_XSETREF(state->slots.recording, (PyTypeObject *)Py_NewRef(recording));
        Py_XSETREF(state->exchange_type, (PyTypeObject *)Py_NewRef(type));
    }
    return type;
}

static int
make_types(PyObject *module, State *state)
{
    state->together_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &together_spec, NULL);
    state->opener_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &opener_spec, NULL);
    state->passing_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &passing_spec, NULL);
    if (state->together_type == NULL || state->opener_type == NULL || state->passing_type == NULL
        || PyModule_AddType(module, state->together_type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->opener_type);
}

static int
module_exec(PyObject *module)
{
    State *state = state_of(module);
#define X(name, text) \
    if ((state->words.name = PyUnicode_InternFromString(text)) == NULL) { \
        return -1; \
    }
    WORDS(X)
#undef X
    if ((state->zero = PyLong_FromLong(0)) == NULL || (state->one = PyLong_FromLong(1)) == NULL
        || (state->nothing_sent = PyLong_FromLong(500)) == NULL
        || (state->client_gone = PyLong_FromLong(499)) == NULL) {
        return -1;
    }
    return make_types(module, state);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = state_of(module);
    Py_VISIT(state->cells);
    Py_VISIT(state->last_local);
    Py_VISIT(state->last_shard);
    Py_VISIT(state->slots.counter);
    Py_VISIT(state->slots.distribution);
    Py_VISIT(state->slots.gauge);
    Py_VISIT(state->slots.recording);
    Py_VISIT(state->together_type);
    Py_VISIT(state->opener_type);
    Py_VISIT(state->passing_type);
    Py_VISIT(state->exchange_type);
    return 0;
}

static void
module_free(void *module)
{
    State *state = state_of(module);
#define X(name, text) Py_CLEAR(state->words.name);
    WORDS(X)
#undef X
    Py_CLEAR(state->cells);
    Py_CLEAR(state->last_local);
    Py_CLEAR(state->last_shard);
    Py_CLEAR(state->zero);
    Py_CLEAR(state->one);
    Py_CLEAR(state->nothing_sent);
    Py_CLEAR(state->client_gone);
    Py_CLEAR(state->slots.counter);
    Py_CLEAR(state->slots.distribution);
    Py_CLEAR(state->slots.gauge);
    Py_CLEAR(state->slots.recording);
    Py_CLEAR(state->together_type);
    Py_CLEAR(state->opener_type);
    Py_CLEAR(state->passing_type);
    Py_CLEAR(state->exchange_type);
}

static PyMethodDef module_methods[] = {
    {"learn", learn, METH_VARARGS, learn_doc},
    {"exchange_type", exchange_type, METH_VARARGS, exchange_type_doc},
    {NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "vitalsign._native",
    .m_doc = "What every HTTP request costs in the ASGI middleware, in C.",
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&module_definition);
}
