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
        if (iterator != NULL && (PyCoro_CheckExact(iterator) || !PyIter_Check(iterator))) {
            PyErr_Format(PyExc_TypeError, "__await__() returned %.100s, which is no iterator, or a coroutine",
                         Py_TYPE(iterator)->tp_name);
            Py_CLEAR(iterator);
        }
        return iterator;
    }
    if (PyGen_CheckExact(awaitable)) {
        PyObject *code = PyObject_GetAttrString(awaitable, "gi_code");
        int is_coroutine = code != NULL && (((PyCodeObject *)code)->co_flags & CO_ITERABLE_COROUTINE);
        Py_XDECREF(code);
        if (is_coroutine) { /* of a function with types.coroutine() */
            return awaitable;
        }
        PyErr_Clear();
    }
    PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", Py_TYPE(awaitable)->tp_name);
    Py_DECREF(awaitable);
    return NULL;
}

PyObject *
pass_on(Exchange *exchange, PyObject *message)
{
    PyTypeObject *type = exchange->home->state->passing_type;
    Passing *self = (Passing *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->exchange = (Exchange *)Py_NewRef(exchange);
        self->message = Py_XNewRef(message);
    }
    return (PyObject *)self;
}

/* Call the server, after a look at what it is sent. */
static int
set_out(Passing *self)
{
    Exchange *exchange = self->exchange;
    PyObject *awaitable;
    if (self->message == NULL) {
        awaitable = PyObject_CallNoArgs(exchange->receive);
    }
    else {
        if (exchange_note_sent(exchange, self->message) < 0 && report_error(exchange->home) < 0) {
            return -1;
        }
        awaitable = PyObject_CallOneArg(exchange->send, self->message);
    }
    self->inner = iterator_of(awaitable);
    return self->inner == NULL ? -1 : 0;
}

/* Do what follows when a message has passed; *received* is the one from the server. */
static int
note_passed(Passing *self, PyObject *received)
{
    Exchange *exchange = self->exchange;
    int result = 0;
    if (self->message == NULL) {
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
    if (how == PYGEN_ERROR && self->message != NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        self->exchange->is_gone = 1; /* how a server says that the client has left */
    }
    if (how == PYGEN_RETURN && note_passed(self, *result) < 0) {
        Py_CLEAR(*result);
        return PYGEN_ERROR;
    }
    if (how == PYGEN_RETURN && self->message != NULL) {
        Py_SETREF(*result, Py_NewRef(Py_None)); /* whatever a server returns, an application has no use for it */
    }
    return how;
}

/* Begin to run; an error if that is not possible. */
static int
start(Passing *self)
{
    if (self->is_done) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return -1;
    }
    if (self->is_running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    self->is_running = 1;
    return 0;
}

/* Run no longer, after what is yielded, returned or raised. */
static PySendResult
stop(Passing *self, PySendResult how, PyObject **result)
{
    self->is_running = 0;
    if (how == PYGEN_NEXT) {
        return how;
    }
    self->is_done = 1;
    how = note_end(self, how, result);
    Py_CLEAR(self->inner);
    return how;
}

static PySendResult
passing_am_send(Passing *self, PyObject *value, PyObject **result)
{
    PySendResult how = PYGEN_ERROR;
    *result = NULL;
    if (!self->is_begun && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return how;
    }
    if (start(self) < 0) {
        return how;
    }
    int is_first = !self->is_begun;
    self->is_begun = 1;
    if (!is_first || set_out(self) == 0) {
        how = PyIter_Send(self->inner, value, result);
    }
    return stop(self, how, result);
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
static void
raise_given(PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *value = count > 1 ? arguments[1] : Py_None;
    if (PyExceptionClass_Check(arguments[0])) {
        PyErr_SetObject(arguments[0], value);
    }
    else if (PyExceptionInstance_Check(arguments[0]) && value == Py_None) {
        PyErr_SetObject((PyObject *)Py_TYPE(arguments[0]), arguments[0]);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception, or its class and value");
    }
}

/* Close what the server's function is awaited by, as far as it can be closed. */
static int
close_inner(Passing *self)
{
    PyObject *method = PyObject_GetAttr(self->inner, self->exchange->home->state->words.close);
    if (method == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_WriteUnraisable(self->inner);
        }
        PyErr_Clear();
        return 0;
    }
    PyObject *done = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Throw an error into what the server's function is awaited by. */
static PySendResult
throw_into(Passing *self, PyObject *const *arguments, Py_ssize_t count, PyObject **result)
{
    Words *words = &self->exchange->home->state->words;
    *result = NULL;
    if (PyErr_GivenExceptionMatches(arguments[0], PyExc_GeneratorExit)) {
        if (close_inner(self) == 0) {
            raise_given(arguments, count);
        }
        return PYGEN_ERROR;
    }
    PyObject *method = PyObject_GetAttr(self->inner, words->throw_into);
    if (method == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            raise_given(arguments, count);
        }
        return PYGEN_ERROR;
    }
    *result = PyObject_Vectorcall(method, arguments, (size_t)count, NULL);
    Py_DECREF(method);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *error = take_error();
    *result = PyObject_GetAttr(error, words->value);
    Py_DECREF(error);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

static void
end_quietly(Passing *self)
{
    self->is_begun = self->is_done = 1;
    self->is_running = 0;
}

static PyObject *
passing_throw(Passing *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count < 1 || count > 3) {
        return PyErr_Format(PyExc_TypeError, "throw() takes from 1 to 3 arguments (%zd given)", count);
    }
    if (start(self) < 0) {
        return NULL;
    }
    if (!self->is_begun) {
        end_quietly(self);
        raise_given(arguments, count);
        return NULL;
    }
    PyObject *result;
    PySendResult how = throw_into(self, arguments, count, &result);
    how = stop(self, how, &result);
    return as_coroutines_do(how, result);
}

static PyObject *
passing_close(Passing *self, PyObject *Py_UNUSED(nothing))
{
    if (self->is_done) {
        Py_RETURN_NONE;
    }
    if (start(self) < 0) {
        return NULL;
    }
    if (!self->is_begun) {
        end_quietly(self);
        Py_RETURN_NONE;
    }
    PyObject *result = NULL;
    if (close_inner(self) < 0) {
        stop(self, PYGEN_ERROR, &result);
        return NULL;
    }
    end_quietly(self);
    Py_CLEAR(self->inner);
    Py_RETURN_NONE;
}

static int
is_suspended(Passing *self)
{
    return self->is_begun && !self->is_running && !self->is_done;
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

static const char *
name_of(Passing *self)
{
    return self->message == NULL ? "Exchange.receive" : "Exchange.send";
}

static PyObject *
passing_name(Passing *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(name_of(self));
}

/* Warn of an `await` that was forgotten, as Python does. */
static void
passing_finalize(PyObject *object)
{
    Passing *self = (Passing *)object;
    if (self->is_begun) {
        return;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited", name_of(self)) < 0) {
        PyErr_WriteUnraisable(object);
    }
    PyErr_Restore(type, error, traceback);
}

/* -- the type */

static int
passing_traverse(Passing *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->exchange);
    Py_VISIT(self->message);
    Py_VISIT(self->inner);
    return 0;
}

static int
passing_clear(Passing *self)
{
    self->is_begun = self->is_done = 1;
    Py_CLEAR(self->inner);
    return 0;
}

static void
passing_dealloc(Passing *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (!self->is_begun && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return; /* whoever shows the warning has kept it */
    }
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->message);
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
    {Py_tp_finalize, passing_finalize},
    {Py_tp_dealloc, passing_dealloc},
    {0, NULL},
};

PyType_Spec passing_spec = {
    .name = "vitalsign._native.Passing",
    .basicsize = sizeof(Passing),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = passing_slots,
};
