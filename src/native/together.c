/* One event, counted and observed in several ways by a single call. */

#include "shared.h"

int
add_to(PyObject **number, double amount)
{
    PyObject *sum;
    if (PyFloat_CheckExact(*number)) {
        sum = PyFloat_FromDouble(PyFloat_AS_DOUBLE(*number) + amount);
    }
    else {
        PyObject *other = PyFloat_FromDouble(amount);
        sum = other == NULL ? NULL : PyNumber_Add(*number, other);
        Py_XDECREF(other);
    }
    if (sum == NULL) {
        return -1;
    }
    put(number, sum);
    return 0;
}

int
is_alone(State *state)
{
    return PyDict_GetItemWithError(state->cells, state->words.storage) == Py_None;
}

/* Return the present thread's shard, as a borrowed reference: the one that was found last, where that still holds. */
static PyObject *
shard_of_thread(State *state)
{
    PyObject *local = PyDict_GetItemWithError(state->cells, state->words.thread_local);
    uint64_t thread = PyThreadState_GetID(PyThreadState_Get());
    if (local == NULL || (local == state->last_local && thread == state->last_thread)) {
        return local == NULL ? NULL : state->last_shard;
    }
    Py_INCREF(local); /* while Python code runs, which may put another in its place */
    PyObject *shard = PyObject_GetAttr(local, state->words.shard);
    if (shard == NULL) {
        Py_DECREF(local);
        return NULL;
    }
    PyObject *local_before = state->last_local, *shard_before = state->last_shard;
    state->last_local = local;
    state->last_shard = shard;
    state->last_thread = thread;
    Py_XDECREF(local_before);
    Py_XDECREF(shard_before);
    return shard;
}

static int
is_owned_by(State *state, Observed *observed, PyObject *shard)
{
    PyObject *cells = *slot_of(observed->child, state->slots.cells);
    return *slot_of(observed->child, state->slots.owner) == shard && cells != NULL && PyList_CheckExact(cells)
           && PyList_GET_SIZE(cells) > observed->length;
}

/* Tell whether the present thread owns the cells of all that is written. */
static int
is_owner(Together *self)
{
    State *state = self->state;
    PyObject *shard = shard_of_thread(state);
    if (shard == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int is_owned = *slot_of(self->counted, state->slots.owner) == shard;
    for (int place = 0; is_owned && place < FIGURES; place++) {
        is_owned = is_owned_by(state, &self->observed[place], shard);
    }
    return is_owned;
}

/* Do what observe() does on the thread that owns the cells, for a figure that is neither NaN nor -Inf. */
static int
observe_own(State *state, Observed *observed, double figure)
{
    Py_ssize_t low = 1, high = observed->length;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (observed->bounds[middle] < figure) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    PyObject **cells = ((PyListObject *)*slot_of(observed->child, state->slots.cells))->ob_item;
    PyObject *count = PyNumber_Add(cells[low], state->one);
    if (count == NULL) {
        return -1;
    }
    put(&cells[low], count);
    return figure == 0.0 ? 0 : add_to(&cells[0], figure);
}

static int
write_own(Together *self, const double figures[FIGURES])
{
    if (add_to(slot_of(self->counted, self->state->slots.count), 1.0) < 0) {
        return -1;
    }
    for (int place = 0; place < FIGURES; place++) {
        if (observe_own(self->state, &self->observed[place], figures[place]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
write_by_calls(Together *self, const double figures[FIGURES])
{
    Words *words = &self->state->words;
    PyObject *done = PyObject_CallMethodNoArgs(self->counted, words->inc);
    for (int place = 0; done != NULL && place < FIGURES; place++) {
        Py_DECREF(done);
        PyObject *figure = PyFloat_FromDouble(figures[place]);
        done = figure == NULL ? NULL : PyObject_CallMethodOneArg(self->observed[place].child, words->observe, figure);
        Py_XDECREF(figure);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
together_write(Together *self, const double figures[FIGURES])
{
    int is_owned = is_owner(self);
    if (is_owned < 0) {
        return -1;
    }
    return is_owned ? write_own(self, figures) : write_by_calls(self, figures);
}

/* -- the type */

static PyObject *
together_call(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    double figures[FIGURES];
    if (PyVectorcall_NARGS(flags) != FIGURES || names != NULL) {
        return PyErr_Format(PyExc_TypeError, "expected %d figures", FIGURES);
    }
    for (int place = 0; place < FIGURES; place++) {
        figures[place] = PyFloat_AsDouble(arguments[place]);
        if (figures[place] == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (together_write((Together *)self, figures) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
take_bounds(Observed *observed, PyObject *bounds)
{
    Py_ssize_t length = PyList_GET_SIZE(bounds);
    observed->bounds = PyMem_New(double, length);
    if (observed->bounds == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t place = 0; place < length; place++) {
        observed->bounds[place] = PyFloat_AsDouble(PyList_GET_ITEM(bounds, place));
    }
    observed->length = length;
    return PyErr_Occurred() ? -1 : 0;
}

static int
take_distribution(State *state, Observed *observed, PyObject *child)
{
    if (!PyObject_TypeCheck(child, state->slots.distribution)) {
        PyErr_Format(PyExc_TypeError, "%R is no distribution", child);
        return -1;
    }
    observed->child = Py_NewRef(child);
    PyObject *bounds = PyObject_GetAttrString(child, "_bounds");
    PyObject *listed = bounds == NULL ? NULL : PySequence_List(bounds);
    int result = listed == NULL ? -1 : take_bounds(observed, listed);
    Py_XDECREF(bounds);
    Py_XDECREF(listed);
    return result;
}

static PyObject *
together_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    State *state = PyType_GetModuleState(type);
    PyObject *counted, *observed[FIGURES];
    if (state->slots.counter == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "learn() has not been called");
        return NULL;
    }
    if (names != NULL && PyDict_GET_SIZE(names) != 0) {
        PyErr_SetString(PyExc_TypeError, "Together takes no names of arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!OOO", state->slots.counter, &counted, &observed[0], &observed[1],
                          &observed[2])) {
        return NULL;
    }
    Together *self = (Together *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = together_call;
    self->state = state;
    self->counted = Py_NewRef(counted);
    for (int place = 0; place < FIGURES; place++) {
        if (take_distribution(state, &self->observed[place], observed[place]) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static int
together_traverse(Together *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->counted);
    for (int place = 0; place < FIGURES; place++) {
        Py_VISIT(self->observed[place].child);
    }
    return 0;
}

static void
together_dealloc(Together *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->counted);
    for (int place = 0; place < FIGURES; place++) {
        Py_CLEAR(self->observed[place].child);
        PyMem_Free(self->observed[place].bounds);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef together_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Together, vectorcall), READONLY, NULL},
    {NULL},
};

static PyType_Slot together_slots[] = {
    {Py_tp_doc, (void *)"Counts an event and observes three figures of it, by one call."},
    {Py_tp_new, together_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, together_members},
    {Py_tp_traverse, together_traverse},
    {Py_tp_dealloc, together_dealloc},
    {0, NULL},
};

PyType_Spec together_spec = {
    .name = "vitalsign._native.Together",
    .basicsize = sizeof(Together),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = together_slots,
};
