/* One request and its response, as they pass. */

#include "shared.h"

int
gauge_add(State *state, PyObject *gauge, double amount, PyObject *by_call)
{
    if (PyObject_TypeCheck(gauge, state->slots.gauge) && is_alone(state)) {
        PyObject **number = slot_of(gauge, state->slots.value);
        if (*number != NULL && PyFloat_CheckExact(*number)) {
            return add_to(number, amount);
        }
    }
    PyObject *done = PyObject_CallMethodNoArgs(gauge, by_call);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* -- from a request to its series */

/* Tell whether *recording* is of requests like this one. */
static int
is_of(Exchange *self, PyObject *recording, PyObject *outcome, PyObject *router)
{
    Slots *slots = &self->home->state->slots;
    if (!Py_IS_TYPE(recording, slots->recording) || *slot_of(recording, slots->router) != router) {
        return 0;
    }
    PyObject *usual_outcome = *slot_of(recording, slots->outcome), *method = *slot_of(recording, slots->method);
    if (usual_outcome == NULL || method == NULL) {
        return 0;
    }
    int is_like = PyObject_RichCompareBool(usual_outcome, outcome, Py_EQ);
    return is_like <= 0 ? is_like : PyObject_RichCompareBool(method, self->method, Py_EQ);
}

/* Return what the framework chose, as a borrowed reference; NULL if it chose nothing, or left it in an unusual way. */
static PyObject *
chosen_in(Words *words, PyObject *scope)
{
    if (!PyDict_CheckExact(scope)) {
        return NULL;
    }
    PyObject *chosen = PyDict_GetItemWithError(scope, words->route);
    if (chosen == NULL && !PyErr_Occurred()) {
        chosen = PyDict_GetItemWithError(scope, words->endpoint);
    }
    PyObject *fastapi = PyErr_Occurred() ? NULL : PyDict_GetItemWithError(scope, words->fastapi);
    if (fastapi == NULL) {
        return PyErr_Occurred() ? NULL : chosen;
    }
    if (!PyDict_CheckExact(fastapi)) {
        return NULL;
    }
    PyObject *context = PyDict_GetItemWithError(fastapi, words->effective_route_context);
    if (PyErr_Occurred()) {
        return NULL;
    }
    return context != NULL && context != Py_None ? context : chosen;
}

/* Return the recording of the latest request to the same route, as a new reference, if this one is like it. */
static PyObject *
latest(Exchange *self, PyObject *outcome)
{
    Words *words = &self->home->state->words;
    PyObject *chosen = chosen_in(words, self->scope);
    PyObject *identity = chosen == NULL ? NULL : PyLong_FromVoidPtr(chosen);
    if (identity == NULL) {
        return NULL;
    }
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(self->home->known, identity));
    Py_DECREF(identity);
    if (found == NULL) {
        return NULL;
    }
    PyObject *router = PyDict_GetItemWithError(self->scope, words->router);
    int is_like = PyErr_Occurred() ? -1 : is_of(self, found, outcome, router == NULL ? Py_None : router);
    if (is_like <= 0) {
        Py_CLEAR(found);
    }
    return found;
}

static PyObject *
recording_of(Exchange *self, PyObject *status, PyObject *outcome)
{
    PyObject *found = latest(self, outcome);
    if (found != NULL || PyErr_Occurred()) {
        return found;
    }
    PyObject *arguments[] = {self->scope, self->method, status, outcome, (PyObject *)self};
    return PyObject_Vectorcall(self->home->find, arguments, 5, NULL);
}

/* -- recording it */

static int
write_each(Exchange *self, PyObject *recording, double now)
{
    PyObject *moment = PyFloat_FromDouble(now);
    if (moment == NULL) {
        return -1;
    }
    PyObject *name = self->home->state->words.write_each;
    PyObject *done = PyObject_CallMethodObjArgs((PyObject *)self, name, recording, moment, NULL);
    Py_DECREF(moment);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
write_figures(Exchange *self, PyObject *recording, double now, int is_answered)
{
    State *state = self->home->state;
    PyObject *usual = NULL;
    if (is_answered && !self->is_unsized && Py_IS_TYPE(recording, state->slots.recording)) {
        usual = *slot_of(recording, state->slots.add_usual);
    }
    if (usual == NULL || !Py_IS_TYPE(usual, state->together_type)) {
        return write_each(self, recording, now);
    }
    int is_head = is_word(self->method, state->words.HEAD); /* servers drop the body of an answer to it */
    double figures[FIGURES] = {now - self->began, self->received, is_head ? 0.0 : self->sent};
    return together_write((Together *)usual, figures);
}

static int
record(Exchange *self)
{
    State *state = self->home->state;
    double now;
    if (read_clock(self->home, &now) < 0 || gauge_add(state, self->gauge, -1.0, state->words.end_one) < 0) {
        return -1;
    }
    int is_answered = PyObject_IsTrue(self->status);
    if (is_answered < 0) {
        return -1;
    }
    PyObject *status = Py_NewRef(is_answered ? self->status : state->nothing_sent);
    PyObject *outcome = Py_NewRef(self->is_gone ? state->client_gone : status);
    Py_XSETREF(self->outcome, Py_NewRef(outcome));
    PyObject *recording = recording_of(self, status, outcome);
    int result = recording == NULL ? -1 : write_figures(self, recording, now, is_answered);
    Py_XDECREF(recording);
    Py_DECREF(outcome);
    Py_DECREF(status);
    return result;
}

int
exchange_finish(Exchange *self)
{
    if (!self->is_open) {
        return 0;
    }
    self->is_open = 0;
    return record(self) < 0 ? report_error(self->home) : 0;
}

/* -- the messages */

/* Add the length of what *message* has as its body, if it has one. */
static int
add_body(Words *words, PyObject *message, double *bytes)
{
    PyObject *body = look_up(message, words->body);
    if (body == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_ssize_t length = PyObject_Size(body);
    Py_DECREF(body);
    if (length < 0) {
        return -1;
    }
    *bytes += (double)length;
    return 0;
}

/* Tell whether *message* has something true under *key*; *otherwise* if it has nothing there. */
static int
is_set(PyObject *message, PyObject *key, int otherwise)
{
    PyObject *found = look_up(message, key);
    if (found == NULL) {
        return PyErr_Occurred() ? -1 : otherwise;
    }
    int truth = PyObject_IsTrue(found);
    Py_DECREF(found);
    return truth;
}

static int
note_start(Exchange *self, PyObject *message)
{
    Words *words = &self->home->state->words;
    PyObject *status = need(message, words->status);
    if (status == NULL) {
        return -1;
    }
    Py_SETREF(self->status, status);
    Py_XSETREF(self->start, Py_NewRef(message));
    int has_trailers = is_set(message, words->trailers, self->has_trailers);
    if (has_trailers < 0) {
        return -1;
    }
    self->has_trailers = (char)has_trailers;
    return 0;
}

static int
note_body(Exchange *self, PyObject *message)
{
    Words *words = &self->home->state->words;
    if (add_body(words, message, &self->sent) < 0) {
        return -1;
    }
    int is_more = is_set(message, words->more_body, 0);
    if (is_more < 0) {
        return -1;
    }
    self->is_ending = !is_more && !self->has_trailers;
    return 0;
}

static int
note_extension(Exchange *self, PyObject *kind, PyObject *message)
{
    PyObject *name = self->home->state->words.note_extension;
    PyObject *done = PyObject_CallMethodObjArgs((PyObject *)self, name, kind, message, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
exchange_note_sent(Exchange *self, PyObject *message)
{
    Words *words = &self->home->state->words;
    PyObject *kind = need(message, words->type);
    if (kind == NULL) {
        return -1;
    }
    int result = is_word(kind, words->response_body)    ? note_body(self, message)
                 : is_word(kind, words->response_start) ? note_start(self, message)
                                                        : note_extension(self, kind, message);
    Py_DECREF(kind);
    return result;
}

int
exchange_note_received(Exchange *self, PyObject *message)
{
    Words *words = &self->home->state->words;
    PyObject *kind = need(message, words->type);
    if (kind == NULL) {
        return -1;
    }
    int result = 0;
    if (is_word(kind, words->request)) {
        result = add_body(words, message, &self->received);
    }
    else if (is_word(kind, words->disconnect) && !self->is_ending) {
        self->is_gone = 1;
    }
    Py_DECREF(kind);
    return result;
}

/* -- the type */

static PyObject *
exchange_send(Exchange *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count + named != 1 || (named && !is_word(PyTuple_GET_ITEM(names, 0), self->home->state->words.message))) {
        return PyErr_Format(PyExc_TypeError, "send() takes a message and nothing else");
    }
    return pass_on(self, arguments[0]);
}

static PyObject *
exchange_receive(Exchange *self, PyObject *Py_UNUSED(nothing))
{
    return pass_on(self, NULL);
}

static PyObject *
exchange_finish_by_call(Exchange *self, PyObject *Py_UNUSED(nothing))
{
    if (exchange_finish(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Finish if nothing has done so, and show the request's headers no longer. */
static PyObject *
exchange_close(Exchange *self, PyObject *Py_UNUSED(nothing))
{
    if (exchange_finish(self) < 0) {
        return NULL;
    }
    PyObject *token = self->token;
    self->token = NULL;
    int result = token == NULL ? 0 : PyContextVar_Reset(self->home->headers, token);
    Py_XDECREF(token);
    if (result < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return NULL;
        }
        PyErr_Clear(); /* whoever closed the request's coroutine did so in a context of their own */
    }
    Py_RETURN_NONE;
}

static PyObject *
exchange_recorder(Exchange *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->home->recorder);
}

static int
exchange_traverse(Exchange *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->home);
    Py_VISIT(self->scope);
    Py_VISIT(self->receive);
    Py_VISIT(self->send);
    Py_VISIT(self->method);
    Py_VISIT(self->gauge);
    Py_VISIT(self->token);
    Py_VISIT(self->start);
    Py_VISIT(self->status);
    Py_VISIT(self->outcome);
    Py_VISIT(self->error);
    return 0;
}

/* Let go of what can be part of a cycle. What the methods rely on becomes None, for those that run even so. */
static int
exchange_clear(Exchange *self)
{
    Py_CLEAR(self->start);
    Py_CLEAR(self->error);
    put(&self->scope, Py_NewRef(Py_None));
    put(&self->receive, Py_NewRef(Py_None));
    put(&self->send, Py_NewRef(Py_None));
    return 0;
}

static void
exchange_dealloc(Exchange *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->start);
    Py_CLEAR(self->error);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    Py_CLEAR(self->method);
    Py_CLEAR(self->gauge);
    Py_CLEAR(self->token);
    Py_CLEAR(self->status);
    Py_CLEAR(self->outcome);
    Py_CLEAR(self->home);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef exchange_methods[] = {
    {"send", (PyCFunction)(void (*)(void))exchange_send, METH_FASTCALL | METH_KEYWORDS, "send($self, message)\n--\n\n"},
    {"receive", (PyCFunction)exchange_receive, METH_NOARGS, "receive($self)\n--\n\n"},
    {"finish", (PyCFunction)exchange_finish_by_call, METH_NOARGS, "finish($self)\n--\n\n"},
    {"close", (PyCFunction)exchange_close, METH_NOARGS, "close($self)\n--\n\n"},
    {NULL},
};

static PyGetSetDef exchange_getters[] = {
    {"_recorder", (getter)exchange_recorder, NULL, NULL, NULL},
    {NULL},
};

/* For the rare methods. */
static PyMemberDef exchange_members[] = {
    {"is_open", T_BOOL, offsetof(Exchange, is_open), READONLY, NULL},
    {"_scope", T_OBJECT, offsetof(Exchange, scope), READONLY, NULL},
    {"_method", T_OBJECT, offsetof(Exchange, method), READONLY, NULL},
    {"_start", T_OBJECT, offsetof(Exchange, start), READONLY, NULL},
    {"_status", T_OBJECT, offsetof(Exchange, status), READONLY, NULL},
    {"_outcome", T_OBJECT, offsetof(Exchange, outcome), READONLY, NULL},
    {"_began", T_DOUBLE, offsetof(Exchange, began), READONLY, NULL},
    {"_received", T_DOUBLE, offsetof(Exchange, received), READONLY, NULL},
    {"_first_byte", T_DOUBLE, offsetof(Exchange, first_byte), READONLY, NULL},
    {"_has_trailers", T_BOOL, offsetof(Exchange, has_trailers), READONLY, NULL},
    {"_error", T_OBJECT, offsetof(Exchange, error), 0, NULL},
    {"_sent", T_DOUBLE, offsetof(Exchange, sent), 0, NULL},
    {"_is_ending", T_BOOL, offsetof(Exchange, is_ending), 0, NULL},
    {"_is_gone", T_BOOL, offsetof(Exchange, is_gone), 0, NULL},
    {"_is_unsized", T_BOOL, offsetof(Exchange, is_unsized), 0, NULL},
    {NULL},
};

static PyType_Slot exchange_slots[] = {
    {Py_tp_doc, (void *)"One request and its response, as they pass."},
    {Py_tp_methods, exchange_methods},
    {Py_tp_members, exchange_members},
    {Py_tp_getset, exchange_getters},
    {Py_tp_traverse, exchange_traverse},
    {Py_tp_clear, exchange_clear},
    {Py_tp_dealloc, exchange_dealloc},
    {0, NULL},
};

PyType_Spec exchange_spec = {
    .name = "vitalsign._native.Exchange",
    .basicsize = sizeof(Exchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = exchange_slots,
};
