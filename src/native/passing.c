/* A message on its way between the application and the server: awaited like the coroutine in whose place it stands. */

#include "shared.h"

PyObject *
take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}

/* Return what `await` would iterate over; steals *awaitable*, which may be NULL with an error set. */
static PyObject *
iterator_of(PyObject *awaitable)
{
    if (awaitable == NULL || PyCoro_CheckExact(awaitable)) {
        return awaitable;
    }
    PyAsyncMethods *methods = Py_TYPE(awaitable)->tp_as_async;
    if (methods != NULL && methods->am_await != NULL) {
        PyObject *iterator = methods->am_await(awaitable);
        Py_DECREF(awaitable);
        return iterator;
    }
    if (PyGen_CheckExact(awaitable)) { /* what a function with types.coroutine() returns */
        return awaitable;
    }
    PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", Py_TYPE(awaitable)->tp_name);
    Py_DECREF(awaitable);
    return NULL;
}

PyObject *
pass_on(Exchange *exchange, PyObject *awaitable, int is_receiving)
{
    PyObject *inner = iterator_of(awaitable);
    if (inner == NULL) {
        return NULL;
    }
    PyTypeObject *type = exchange->home->state->passing_type;
    Passing *self = (Passing *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(inner);
        return NULL;
    }
    self->exchange = (Exchange *)Py_NewRef(exchange);
    self->inner = inner;
    self->is_receiving = (char)is_receiving;
    return (PyObject *)self;
}

/* Do what follows when a message has passed; *received* is the one from the server. */
static int
note_passed(Passing *self, PyObject *received)
{
    Exchange *exchange = self->exchange;
    int result = 0;
    if (self->is_receiving) {
        result = exchange_note_received(exchange, received);
    }
    else if (exchange->is_ending) {
        return exchange_finish(exchange);
    }
    else if (exchange->sent != 0.0 && exchange->first_byte == 0.0) {
        result = read_clock(exchange->home, &exchange->first_byte);
    }
    return result < 0 ? report_error(exchange->home) : 0;
}

/* Note how the way of the message has ended; *result* is what is returned. */
static PySendResult
note_end(Passing *self, PySendResult how, PyObject **result)
{
    if (how == PYGEN_ERROR && !self->is_receiving && PyErr_ExceptionMatches(PyExc_OSError)) {
        self->exchange->is_gone = 1; /* how a server says that the client has left */
    }
    if (how == PYGEN_RETURN && note_passed(self, *result) < 0) {
        Py_CLEAR(*result);
        return PYGEN_ERROR;
    }
    if (how == PYGEN_RETURN && !self->is_receiving) {
        Py_SETREF(*result, Py_NewRef(Py_None)); /* whatever a server returns, an application has no use for it */
    }
    return how;
}

/* Return what to go on with, as a new reference; NULL with an error if it is done, or just going on. */
static PyObject *
go_on(Passing *self)
{
    if (self->inner == NULL || self->is_running) {
        const char *text = self->inner == NULL ? "cannot reuse already awaited coroutine" : "coroutine already executing";
        PyErr_SetString(self->inner == NULL ? PyExc_RuntimeError : PyExc_ValueError, text);
        return NULL;
    }
    self->is_running = self->is_begun = 1;
    return Py_NewRef(self->inner);
}

/* Stop going on, with what is returned, yielded or raised; the reference of go_on() is given back. */
static PySendResult
stop_going(Passing *self, PyObject *inner, PySendResult how, PyObject **result)
{
    self->is_running = 0;
    Py_DECREF(inner);
    if (how == PYGEN_NEXT) {
        return how;
    }
    self->inner = NULL;
    how = note_end(self, how, result);
    Py_DECREF(inner);
    return how;
}

static PySendResult
passing_am_send(Passing *self, PyObject *value, PyObject **result)
{
    PyObject *inner = go_on(self);
    if (inner == NULL) {
        *result = NULL;
        return PYGEN_ERROR;
    }
    return stop_going(self, inner, PyIter_Send(inner, value, result), result);
}

/* Return what the methods of coroutines do: what is yielded, or else a StopIteration with what is returned. */
static PyObject *
as_coroutines_do(PySendResult how, PyObject *result)
{
    if (how != PYGEN_RETURN) {
        return result;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    Py_DECREF(result);
    return NULL;
}

static PyObject *
passing_send(Passing *self, PyObject *value)
{
    PyObject *result;
    PySendResult how = passing_am_send(self, value, &result);
    return as_coroutines_do(how, result);
}

static PyObject *
passing_next(Passing *self)
{
    return passing_send(self, Py_None);
}

/* Raise what throw() was given. */
static PyObject *
raise_given(PyObject *const *arguments, Py_ssize_t count)
{
    if (count == 1 && PyExceptionInstance_Check(arguments[0])) {
        PyErr_SetObject((PyObject *)Py_TYPE(arguments[0]), arguments[0]);
    }
    else if (PyExceptionClass_Check(arguments[0])) {
        PyErr_SetObject(arguments[0], count > 1 ? arguments[1] : Py_None);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
    }
    return NULL;
}

static PyObject *
throw_into(State *state, PyObject *inner, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *method = PyObject_GetAttr(inner, state->words.throw_into);
    if (method == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        return raise_given(arguments, count);
    }
    PyObject *result = PyObject_Vectorcall(method, arguments, (size_t)count, NULL);
    Py_DECREF(method);
    return result;
}

static PyObject *
passing_throw(Passing *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count < 1 || count > 3) {
        return PyErr_Format(PyExc_TypeError, "throw() takes from 1 to 3 arguments (%zd given)", count);
    }
    PyObject *inner = go_on(self);
    if (inner == NULL) {
        return NULL;
    }
    State *state = self->exchange->home->state;
    PyObject *result = throw_into(state, inner, arguments, count);
    PySendResult how = result != NULL ? PYGEN_NEXT : PYGEN_ERROR;
    if (result == NULL && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyObject *stop = take_error();
        result = PyObject_GetAttr(stop, state->words.value);
        how = result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
        Py_DECREF(stop);
    }
    how = stop_going(self, inner, how, &result);
    return as_coroutines_do(how, result);
}

static PyObject *
passing_close(Passing *self, PyObject *Py_UNUSED(nothing))
{
    if (self->inner == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *inner = go_on(self), *result = NULL;
    if (inner == NULL) {
        return NULL;
    }
    PyObject *method = PyObject_GetAttr(inner, self->exchange->home->state->words.close);
    if (method != NULL) {
        result = PyObject_CallNoArgs(method);
        Py_DECREF(method);
    }
    else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        result = Py_NewRef(Py_None);
    }
    stop_going(self, inner, PYGEN_ERROR, &result);
    return result;
}

static int
is_suspended(Passing *self)
{
    return self->is_begun && !self->is_running && self->inner != NULL;
}

static PyObject *
passing_await(Passing *self)
{
    if (is_suspended(self)) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(self);
}

/* -- what task groups and debuggers ask of coroutines */

static PyObject *
passing_cr_running(Passing *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->is_running);
}

static PyObject *
passing_cr_suspended(Passing *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(is_suspended(self));
}

static PyObject *
passing_cr_await(Passing *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->inner != NULL ? self->inner : Py_None);
}

static PyObject *
passing_cr_frame(Passing *self, void *Py_UNUSED(closure))
{
    if (self->inner == NULL || !PyCoro_CheckExact(self->inner)) {
        Py_RETURN_NONE;
    }
    return PyObject_GetAttrString(self->inner, "cr_frame");
}

static PyObject *
passing_name(Passing *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(self->is_receiving ? "Exchange.receive" : "Exchange.send");
}

/* -- the type */

static int
passing_traverse(Passing *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->exchange);
    Py_VISIT(self->inner);
    return 0;
}

static int
passing_clear(Passing *self)
{
    Py_CLEAR(self->inner);
    return 0;
}

static void
passing_dealloc(Passing *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->exchange);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef passing_methods[] = {
    {"send", (PyCFunction)passing_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))passing_throw, METH_FASTCALL, NULL},
    {"close", (PyCFunction)passing_close, METH_NOARGS, NULL},
    {NULL},
};

static PyGetSetDef passing_getters[] = {
    {"cr_running", (getter)passing_cr_running, NULL, NULL, NULL},
    {"cr_suspended", (getter)passing_cr_suspended, NULL, NULL, NULL},
    {"cr_await", (getter)passing_cr_await, NULL, NULL, NULL},
    {"cr_frame", (getter)passing_cr_frame, NULL, NULL, NULL},
    {"__name__", (getter)passing_name, NULL, NULL, NULL},
    {"__qualname__", (getter)passing_name, NULL, NULL, NULL},
    {NULL},
};

static PyType_Slot passing_slots[] = {
    {Py_tp_doc, (void *)"A message on its way between the application and the server."},
    {Py_tp_methods, passing_methods},
    {Py_tp_getset, passing_getters},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, passing_next},
    {Py_am_await, passing_await},
    {Py_am_send, passing_am_send},
    {Py_tp_traverse, passing_traverse},
    {Py_tp_clear, passing_clear},
    {Py_tp_dealloc, passing_dealloc},
    {0, NULL},
};

PyType_Spec passing_spec = {
    .name = "vitalsign._native.Passing",
    .basicsize = sizeof(Passing),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = passing_slots,
};
