/* What begins an exchange for each request to one middleware. */

#include "shared.h"

int
read_clock(Opener *home, double *now)
{
    PyObject *seconds = PyObject_CallNoArgs(home->clock);
    if (seconds == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(seconds);
    Py_DECREF(seconds);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
report_error(Opener *home)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *error = take_error();
    PyObject *done = PyObject_CallOneArg(home->report, error);
    Py_DECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Tell whether the path of *scope* is left out of the measurement. */
static int
is_excluded(Opener *home, PyObject *scope)
{
    if (home->excludes == Py_None) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(home->excludes, scope);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

/* Tell whether *scope* is of a request to measure, and mark it as measured. */
static int
take_up(Opener *home, PyObject *scope)
{
    Words *words = &home->state->words;
    PyObject *kind = need(scope, words->type);
    if (kind == NULL) {
        return -1;
    }
    int is_http = is_word(kind, words->http);
    Py_DECREF(kind);
    if (!is_http) {
        return 0;
    }
    int is_left_out = PySequence_Contains(scope, home->mark);
    if (is_left_out == 0) {
        is_left_out = is_excluded(home, scope);
    }
    if (is_left_out != 0) {
        return is_left_out < 0 ? -1 : 0;
    }
    return PyObject_SetItem(scope, home->mark, Py_True) < 0 ? -1 : 1;
}

/* Return the gauge of requests in progress that a request belongs to, as a new reference. */
static PyObject *
gauge_of(Opener *home, PyObject *scope, PyObject *method)
{
    PyObject *key = NULL;
    if (home->is_by_scheme) {
        PyObject *scheme = need(scope, home->state->words.scheme);
        if (scheme != NULL) {
            key = PyTuple_Pack(2, method, scheme);
            Py_DECREF(scheme);
        }
    }
    else {
        key = Py_NewRef(method);
    }
    if (key == NULL) {
        return NULL;
    }
    PyObject *gauge = Py_XNewRef(PyDict_GetItemWithError(home->in_progress, key));
    if (gauge == NULL && !PyErr_Occurred()) {
        gauge = PyObject_GetItem(home->in_progress, key); /* which makes it */
    }
    Py_DECREF(key);
    return gauge;
}

/* Tell whether headers, if they are what servers make of them, have a traceparent; of others it is possible. */
static int
may_have_trace(PyObject *headers)
{
    static const char name[] = "traceparent";
    static const Py_ssize_t length = sizeof name - 1;
    if (!PyList_CheckExact(headers)) {
        return headers != Py_None;
    }
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(headers); place++) {
        PyObject *header = PyList_GET_ITEM(headers, place);
        PyObject *key = PyTuple_CheckExact(header) && PyTuple_GET_SIZE(header) == 2 ? PyTuple_GET_ITEM(header, 0) : NULL;
        if (key == NULL || !PyBytes_CheckExact(key)
            || (PyBytes_GET_SIZE(key) == length && memcmp(PyBytes_AS_STRING(key), name, (size_t)length) == 0)) {
            return 1;
        }
    }
    return 0;
}

/* Show the request's headers to whoever asks for its trace, unless they have none and no others are shown. */
static int
show_headers(Exchange *self, PyObject *headers)
{
    PyObject *variable = self->home->headers, *shown;
    if (!may_have_trace(headers)) {
        if (PyContextVar_Get(variable, NULL, &shown) < 0) {
            return -1;
        }
        int are_others_shown = shown != NULL && shown != Py_None;
        Py_XDECREF(shown);
        if (!are_others_shown) {
            return 0;
        }
    }
    self->token = PyContextVar_Set(variable, headers);
    return self->token == NULL ? -1 : 0;
}

static int
begin(Exchange *self)
{
    State *state = self->home->state;
    if (read_clock(self->home, &self->began) < 0
        || (self->method = need(self->scope, state->words.method)) == NULL
        || (self->gauge = gauge_of(self->home, self->scope, self->method)) == NULL) {
        return -1;
    }
    PyObject *headers = look_up(self->scope, state->words.headers);
    if ((headers == NULL && PyErr_Occurred()) || gauge_add(state, self->gauge, 1.0, state->words.begin_one) < 0) {
        Py_XDECREF(headers);
        return -1;
    }
    self->is_open = 1;
    int result = show_headers(self, headers == NULL ? Py_None : headers);
    Py_XDECREF(headers);
    return result;
}

static PyObject *
exchange_of(Opener *home, PyObject *const *arguments)
{
    Exchange *self = (Exchange *)home->exchange_type->tp_alloc(home->exchange_type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->home = (Opener *)Py_NewRef(home);
    self->scope = Py_NewRef(arguments[0]);
    self->receive = Py_NewRef(arguments[1]);
    self->send = Py_NewRef(arguments[2]);
    self->status = Py_NewRef(home->state->zero);
    if (begin(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* -- the type */

static PyObject *
opener_open(Opener *home, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3) {
        return PyErr_Format(PyExc_TypeError, "expected scope, receive and send");
    }
    int is_ours = take_up(home, arguments[0]);
    PyObject *exchange = is_ours > 0 ? exchange_of(home, arguments) : NULL;
    if (exchange != NULL) {
        return exchange;
    }
    if (is_ours != 0 && report_error(home) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
take_recorder(Opener *self, PyObject *recorder)
{
    PyObject *is_by_scheme = PyObject_GetAttrString(recorder, "is_by_scheme");
    int truth = is_by_scheme == NULL ? -1 : PyObject_IsTrue(is_by_scheme);
    Py_XDECREF(is_by_scheme);
    if (truth < 0) {
        return -1;
    }
    self->is_by_scheme = (char)truth;
    self->recorder = Py_NewRef(recorder);
    if ((self->in_progress = PyObject_GetAttrString(recorder, "in_progress")) == NULL
        || (self->known = PyObject_GetAttrString(recorder, "known")) == NULL
        || (self->find = PyObject_GetAttrString(recorder, "find")) == NULL) {
        return -1;
    }
    if (!PyDict_Check(self->in_progress) || !PyDict_Check(self->known)) {
        PyErr_SetString(PyExc_TypeError, "what the recorder knows must be kept in dicts");
        return -1;
    }
    return 0;
}

static PyObject *
opener_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    static char *keywords[] = {"exchange", "recorder", "mark", "excludes", "headers", "clock", "report", NULL};
    State *state = PyType_GetModuleState(type);
    PyObject *exchange, *recorder, *mark, *excludes, *headers, *clock, *report;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "OOUOO!OO", keywords, &exchange, &recorder, &mark, &excludes,
                                     &PyContextVar_Type, &headers, &clock, &report)) {
        return NULL;
    }
    if (exchange != (PyObject *)state->exchange_type) {
        PyErr_SetString(PyExc_TypeError, "the first argument must be what exchange_type() has returned last");
        return NULL;
    }
    Opener *self = (Opener *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->exchange_type = (PyTypeObject *)Py_NewRef(exchange);
    self->mark = Py_NewRef(mark);
    self->excludes = Py_NewRef(excludes);
    self->headers = Py_NewRef(headers);
    self->clock = Py_NewRef(clock);
    self->report = Py_NewRef(report);
    if (take_recorder(self, recorder) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
opener_traverse(Opener *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->exchange_type);
    Py_VISIT(self->recorder);
    Py_VISIT(self->in_progress);
    Py_VISIT(self->known);
    Py_VISIT(self->find);
    Py_VISIT(self->mark);
    Py_VISIT(self->excludes);
    Py_VISIT(self->headers);
    Py_VISIT(self->clock);
    Py_VISIT(self->report);
    return 0;
}

static void
opener_dealloc(Opener *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->exchange_type);
    Py_CLEAR(self->recorder);
    Py_CLEAR(self->in_progress);
    Py_CLEAR(self->known);
    Py_CLEAR(self->find);
    Py_CLEAR(self->mark);
    Py_CLEAR(self->excludes);
    Py_CLEAR(self->headers);
    Py_CLEAR(self->clock);
    Py_CLEAR(self->report);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef opener_methods[] = {
    {"open", (PyCFunction)(void (*)(void))opener_open, METH_FASTCALL, NULL},
    {NULL},
};

static PyType_Slot opener_slots[] = {
    {Py_tp_doc, (void *)"Begins an exchange for each request to one middleware."},
    {Py_tp_new, opener_new},
    {Py_tp_methods, opener_methods},
    {Py_tp_traverse, opener_traverse},
    {Py_tp_dealloc, opener_dealloc},
    {0, NULL},
};

PyType_Spec opener_spec = {
    .name = "vitalsign._native.Opener",
    .basicsize = sizeof(Opener),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = opener_slots,
};
